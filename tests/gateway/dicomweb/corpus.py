"""Real files of many devices and transfer syntaxes, each in a study of its own."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from hulumed_platform.imaging.dicom.pixels import ISOLATED, PLUGINS

NAMES = {
    "explicit": "CT_small.dcm",
    "implicit": "MR_small_implicit.dcm",
    "big endian": "MR_small_bigendian.dcm",
    "big endian, colour": "ExplVR_BigEnd.dcm",
    "deflated": "image_dfl.dcm",
    "RLE": "MR_small_RLE.dcm",
    "JPEG 2000": "MR_small_jp2klossless.dcm",
    "JPEG-LS": "MR_small_jpeg_ls_lossless.dcm",
    "JPEG lossless": "JPEG-LL.dcm",
    "JPEG, colour": "SC_rgb_jpeg_dcmtk.dcm",
    "JPEG, frames": "color3d_jpeg_baseline.dcm",
    "palette": "OBXXXX1A.dcm",
    "one bit, frames": "liver.dcm",
    "16-bit colour": "SC_rgb_16bit.dcm",
}
"""pydicom's samples."""


@dataclass(frozen=True)
class Sample:
    """A file, and what pydicom reads from it."""

    content: bytes
    dataset: Dataset

    @property
    def path(self) -> str:
        """Its address below /dicom-web."""
        dataset = self.dataset
        return (
            f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}/instances/{dataset.SOPInstanceUID}"
        )

    @property
    def syntax(self) -> str:
        """Its transfer syntax."""
        return str(self.dataset.file_meta.TransferSyntaxUID)

    def pixels(self) -> npt.NDArray[np.generic]:
        """All frames, decoded without the platform."""
        plugin = {**ISOLATED, **PLUGINS}.get(self.dataset.file_meta.TransferSyntaxUID, "")
        self.dataset.pixel_array_options(decoding_plugin=plugin)
        return self.dataset.pixel_array


def sample(name: str) -> Sample:
    """One of `NAMES`, with a SOP Instance UID of its own: some are the same image in several encodings."""
    content = Path(str(get_testdata_file(NAMES[name], download=False))).read_bytes()
    uid = str(pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).SOPInstanceUID)
    if name != "deflated":
        number = list(NAMES).index(name) + 10
        other = f"{uid[:-3]}{'1' if uid[-4] == '.' else '.'}{number}"
        content = content.replace(uid.encode(), other.encode())
    return Sample(content, pydicom.dcmread(io.BytesIO(content)))


def made(pixels: npt.NDArray[np.generic], **attributes: object) -> Sample:
    """An uncompressed instance of grey [H, W] or colour [H, W, 3] values."""
    colour = pixels.ndim == 3
    bits = pixels.dtype.itemsize * 8
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values: dict[str, object] = {
        "SOPClassUID": SecondaryCaptureImageStorage,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "Modality": "OT",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        **({"PlanarConfiguration": 0} if colour else {}),
        "PixelData": pixels.tobytes(),
        **attributes,
    }
    for name, value in values.items():
        setattr(dataset, name, value)
    return _saved(dataset)


def document(content: bytes) -> Sample:
    """An encapsulated PDF."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = EncapsulatedPDFStorage
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (generate_uid() for _ in range(3))
    dataset.Modality = "DOC"
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocument = content
    return _saved(dataset)


def _saved(dataset: Dataset) -> Sample:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return Sample(buffer.getvalue(), pydicom.dcmread(io.BytesIO(buffer.getvalue())))
