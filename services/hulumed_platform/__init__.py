"""The Hulu-Med platform: hospital imaging in, traceable answers out."""
