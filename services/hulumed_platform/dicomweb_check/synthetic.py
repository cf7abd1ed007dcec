"""Instances made in memory: nobody's images, with UIDs under 2.25 that nobody else has (PS3.5, annex B.2)."""

import io
import uuid
import warnings
from dataclasses import dataclass
from typing import Any

import pydicom
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, RLELossless

SIDE = 32
"""Rows and columns of the images."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A DICOM file with the UIDs it was made with."""

    study: str
    series: str
    sop: str
    sop_class: str
    file: bytes

    @property
    def path(self) -> str:
        """Its path under the root of the services."""
        return f"/studies/{self.study}/series/{self.series}/instances/{self.sop}"


def new_uid() -> str:
    """A UID that is nowhere else."""
    return f"2.25.{uuid.uuid4().int}"


def make(
    patient_id: str,
    *,
    study: str | None = None,
    series: str | None = None,
    syntax: UID = ExplicitVRLittleEndian,
    preamble: bytes = bytes(128),
    **attributes: Any,
) -> Instance:
    """A CT slice of 32 x 32 pixels.

    Args:
        patient_id: marks all that one run leaves behind.
        study: Study Instance UID; a new study without it. Likewise `series`.
        syntax: transfer syntax the pixels are encoded in.
        preamble: first 128 bytes of the file.
        attributes: by keyword; they override or, given None, remove.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    values = {**_attributes(patient_id, study or new_uid(), series or new_uid()), **attributes}
    # Some values are wrong on purpose.
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        for keyword, value in values.items():
            if value is not None:
                setattr(dataset, keyword, value)
        file = _written(dataset, syntax, preamble)
    return Instance(
        study=str(values["StudyInstanceUID"] or ""),
        series=str(values["SeriesInstanceUID"] or ""),
        sop=str(values["SOPInstanceUID"] or ""),
        sop_class=str(values["SOPClassUID"] or ""),
        file=file,
    )


def without_meta(file: bytes) -> bytes:
    """The bytes of the data set, behind the preamble and the file meta information (PS3.10, section 7.1)."""
    meta_length = int.from_bytes(file[140:144], "little")
    return file[144 + meta_length :]


def read(file: bytes) -> pydicom.FileDataset:
    """The data set of a file that a server gave out."""
    return pydicom.dcmread(io.BytesIO(file))


def _written(dataset: Dataset, syntax: UID, preamble: bytes) -> bytes:
    if syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(RLELossless, generate_instance_uid=False, encoding_plugin="pydicom")
    if not syntax.is_private and not syntax.is_little_endian:
        dataset.PixelData = _swapped(dataset.PixelData)
    dataset.file_meta.FileMetaInformationVersion = b"\0\1"
    dataset.file_meta.FileMetaInformationGroupLength = 0  # written as it is
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", new_uid())
    dataset.preamble = preamble
    buffer = io.BytesIO()
    private = syntax.is_private
    layout = {"implicit_vr": False, "little_endian": True} if private else {}
    dataset.save_as(buffer, enforce_file_format=not private, **layout)
    return buffer.getvalue()


def _swapped(words: bytes) -> bytes:
    swapped = bytearray(words)
    swapped[::2], swapped[1::2] = words[1::2], words[::2]
    return bytes(swapped)


def _attributes(patient_id: str, study: str, series: str) -> dict[str, Any]:
    """All that a CT image must have (PS3.3, table A.3-1), and what searches return."""
    return {
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": new_uid(),
        "StudyDate": "20200115",
        "SeriesDate": "20200115",
        "StudyTime": "103000",
        "AccessionNumber": "A1",
        "Modality": "CT",
        "Manufacturer": "DICOMweb check",
        "ReferringPhysicianName": "Nobody^Refers",
        "StudyDescription": "DICOMweb check",
        "SeriesDescription": "synthetic",
        "PatientName": "Check^Dicomweb",
        "PatientID": patient_id,
        "PatientBirthDate": "19700101",
        "PatientSex": "O",
        "SliceThickness": "1",
        "KVP": "120",
        "PatientPosition": "HFS",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "StudyID": "1",
        "SeriesNumber": "1",
        "AcquisitionNumber": "1",
        "InstanceNumber": "1",
        "ImagePositionPatient": ["0", "0", "0"],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "FrameOfReferenceUID": new_uid(),
        "PositionReferenceIndicator": "",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": SIDE,
        "Columns": SIDE,
        "PixelSpacing": ["1", "1"],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "RescaleType": "HU",
        "PixelData": gradient(),
    }


def gradient(frames: int = 1) -> bytes:
    """Pixels of 12 bits in 16, dark on the left and bright on the right; the frames differ in their first pixel."""
    row = b"".join((column * 4095 // (SIDE - 1)).to_bytes(2, "little") for column in range(SIDE))
    frame = row * SIDE
    return b"".join(number.to_bytes(2, "little") + frame[2:] for number in range(frames))
