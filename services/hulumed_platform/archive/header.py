"""What the door must know of a DICOM instance, read from its header alone; pixels stay encoded and unread."""

import logging
import struct
import warnings
from dataclasses import dataclass
from typing import BinaryIO

import pydicom
from pydicom.tag import Tag
from pydicom.uid import UID

from hulumed_platform.archive.attributes import KEYWORDS, remembered
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.records import DicomAttributes

# Its messages quote values of the file, which may be a patient's.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)

_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_PIXEL_DATA = Tag("PixelData")
_UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM = (0xFFFE, 0xE000)
_SEQUENCE_END = (0xFFFE, 0xE0DD)


@dataclass(frozen=True, slots=True)
class InstanceHeader:
    """UIDs as the sender wrote them, without padding. `modality` is None where it is missing or no code string."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str | None
    attributes: DicomAttributes


def read_header(file: BinaryIO, size_bytes: int) -> InstanceHeader:
    """Read the header of a DICOM file (PS3.10) and see that its pixel data are all there.

    Raises:
        PlatformError: INVALID_INPUT where it is no DICOM file, a UID is missing, or it was cut off.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=[*KEYWORDS])
            syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
            values = {name: str(dataset.get(name) or "").rstrip("\0 ") for name in (*_NEEDED, "Modality")}
            attributes = remembered(dataset)
    except Exception:  # noqa: BLE001  the parser of hostile bytes raises nearly anything
        raise _refused("is no DICOM file of PS3.10, or is cut off in its header") from None
    for name in _NEEDED:
        if not values[name]:
            raise _refused(f"has no {name}")
    if not syntax:
        raise _refused("has no Transfer Syntax UID in its file meta information")
    if not syntax.is_deflated and not _pixel_data_are_whole(file, size_bytes, syntax):
        raise _refused("is cut off in its pixel data; send it again from its source")
    return InstanceHeader(
        study_instance_uid=values["StudyInstanceUID"],
        series_instance_uid=values["SeriesInstanceUID"],
        sop_instance_uid=values["SOPInstanceUID"],
        sop_class_uid=values["SOPClassUID"],
        transfer_syntax_uid=str(syntax),
        modality=values["Modality"] or None,
        attributes=attributes,
    )


def _refused(problem: str) -> PlatformError:
    return PlatformError(ErrorCode.INVALID_INPUT, f"the instance {problem}")


def _pixel_data_are_whole(file: BinaryIO, size_bytes: int, syntax: UID) -> bool:
    """Whether the file goes on as far as its pixel data element says. The file stands before that element."""
    order = "<" if syntax.is_little_endian else ">"
    head = file.read(8)
    if len(head) < 8 or struct.unpack(order + "HH", head[:4]) != (_PIXEL_DATA.group, _PIXEL_DATA.element):
        return True
    # PS3.5, section 7.1: implicit VR has the length at once, explicit OB and OW have two reserved bytes before it.
    # Looked at, not taken from the transfer syntax: devices send one and claim the other.
    length_bytes = file.read(4) if head[4:6] in (b"OB", b"OW", b"UN") else head[4:]
    if len(length_bytes) < 4:
        return False
    (length,) = struct.unpack(order + "I", length_bytes)
    if length != _UNDEFINED_LENGTH:
        return file.tell() + int(length) <= size_bytes
    return _reaches_sequence_end(file, size_bytes)


def _reaches_sequence_end(file: BinaryIO, size_bytes: int) -> bool:
    """Walk the fragments of encapsulated pixel data (PS3.5, annex A.4) without reading them."""
    while True:
        head = file.read(8)
        if len(head) < 8:
            return False
        group, element, length = struct.unpack("<HHI", head)
        if (group, element) == _SEQUENCE_END:
            return True
        if (group, element) != _ITEM or file.tell() + length > size_bytes:
            return False
        file.seek(length, 1)
