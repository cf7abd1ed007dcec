"""Any medical input to planes: DICOM, NIfTI, pictures and video, resized to the token budget and cut into patches."""
