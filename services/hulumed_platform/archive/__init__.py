"""What stands behind every door for DICOM instances: read the header, store the bytes, index them, acknowledge."""
