"""Hulu-Med itself: configuration, weights, vision tower, token compression, projector, decoder and prompt, for every published size."""
