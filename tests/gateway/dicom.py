"""Small DICOM instances, and bodies of STOW-RS requests made by hand."""

import io
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

STUDY = "1.2.826.0.1.3680043.8.498.1"
CONTENT_TYPE = 'multipart/related; type="application/dicom"; boundary=b-1'


def instance(**attributes: Any) -> bytes:
    """A CT slice of 16 x 16 pixels; attributes override or, given None, remove."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": f"{STUDY}.1",
        "Modality": "CT",
        "PatientName": "DOE^JANE",
        "Rows": 16,
        "Columns": 16,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "PixelData": np.arange(256, dtype=np.uint16).tobytes(),
        **attributes,
    }
    for name, value in values.items():
        if value is not None:
            setattr(dataset, name, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=dataset.get("SOPInstanceUID") is not None)
    return buffer.getvalue()


def multipart(*parts: bytes, content_type: str = "application/dicom") -> bytes:
    """A multipart/related body of instances."""
    head = b"--b-1\r\nContent-Type: " + content_type.encode() + b"\r\n\r\n"
    return b"".join(head + part + b"\r\n" for part in parts) + b"--b-1--\r\n"
