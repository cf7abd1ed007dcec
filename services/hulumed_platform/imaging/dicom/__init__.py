"""DICOM studies: headers, series, geometry, pixels, cine."""
