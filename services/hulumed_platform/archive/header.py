"""What the door must know of a DICOM instance: a few values of its header, and that the file is whole."""

import logging
import re
import tempfile
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from pydicom.filereader import read_dataset

from hulumed_platform.archive.attributes import TAGS, remembered
from hulumed_platform.archive.elements import CutOffError, Element, Elements
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.records import DicomAttributes
from hulumed_platform.storage.spool import disk_errors

# Its messages quote values of the file, which may be a patient's.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)

_TRANSFER_SYNTAX_UID = 0x00020010
_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018
_MODALITY = 0x00080060
_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E
_PIXEL_DATA = (0x7FE00008, 0x7FE00009, 0x7FE00010)
"""Float, double float and integer pixel data; what comes after them is no part of the picture."""
_ROWS = 0x00280010
_PIXEL_DATA_PROVIDER_URL = 0x00287FE0
_NEEDED = {
    _SOP_CLASS_UID: "SOPClassUID",
    _SOP_INSTANCE_UID: "SOPInstanceUID",
    _STUDY_INSTANCE_UID: "StudyInstanceUID",
    _SERIES_INSTANCE_UID: "SeriesInstanceUID",
}
_LONGEST_VALUE = 128
"""Bytes; the longest value that is wanted, a UID, has 64."""

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
_CODE_STRING = re.compile(r"[A-Z0-9 _]{1,16}")
_STEP_BYTES = 1 << 20
_MEMORY_BYTES = 8 << 20


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


def read_header(file: BinaryIO, size_bytes: int, *, max_bytes: int, scratch: Path | None = None) -> InstanceHeader:
    """Walk a DICOM file (PS3.10) to the end of its pixel data.

    Args:
        file: stands at its beginning.
        size_bytes: size of the file.
        max_bytes: what a deflated data set may unfold to.
        scratch: folder for what it unfolds to; None = the system's temporary folder.

    Raises:
        PlatformError: INVALID_INPUT where it is no DICOM file, a UID is missing, or it was cut off; TOO_LARGE for a
            deflated one that unfolds to more.
    """
    if file.read(132)[128:] != b"DICM":
        raise _refused("is no DICOM file: it has no DICM at byte 128 (PS3.10)")
    try:
        syntax = _transfer_syntax(file, size_bytes)
        if syntax in _DEFLATED:
            folder = None if scratch is None else str(scratch)
            with tempfile.SpooledTemporaryFile(_MEMORY_BYTES, dir=folder) as unfolded, disk_errors():
                size_bytes = _inflate(file, unfolded, max_bytes)
                values, attributes = _read(cast("BinaryIO", unfolded), size_bytes, "<")
        else:
            values, attributes = _read(file, size_bytes, ">" if syntax == _BIG_ENDIAN else "<")
    except CutOffError:
        raise _refused("is cut off; send it again from its source") from None
    for tag, name in _NEEDED.items():
        if not values.get(tag):
            raise _refused(f"has no {name}")
    modality = values.get(_MODALITY, "")
    return InstanceHeader(
        study_instance_uid=values[_STUDY_INSTANCE_UID],
        series_instance_uid=values[_SERIES_INSTANCE_UID],
        sop_instance_uid=values[_SOP_INSTANCE_UID],
        sop_class_uid=values[_SOP_CLASS_UID],
        transfer_syntax_uid=syntax,
        modality=modality if _CODE_STRING.fullmatch(modality) else None,
        attributes=attributes,
    )


def _refused(problem: str) -> PlatformError:
    return PlatformError(ErrorCode.INVALID_INPUT, f"the instance {problem}")


def _transfer_syntax(file: BinaryIO, size_bytes: int) -> str:
    """Read the file meta information; the file stands at the data set then."""
    syntax = ""
    start = file.tell()
    for element in Elements(file, size_bytes, "<"):
        if element.tag >> 16 != 2:
            break
        if element.tag == _TRANSFER_SYNTAX_UID:
            syntax = _text(file, element)
        start = element.start + (element.length or 0)
    file.seek(start)
    if not syntax:
        raise _refused("has no Transfer Syntax UID in its file meta information")
    return syntax


def _read(file: BinaryIO, size_bytes: int, order: str) -> tuple[dict[int, str], DicomAttributes]:
    """What `_values` and `_attributes` read from where the file stands."""
    start = file.tell()
    elements = Elements(file, size_bytes, order, last=_PIXEL_DATA)
    values = _values(file, elements)
    file.seek(start)
    return values, _attributes(file, implicit=elements.implicit, little_endian=order == "<")


def _attributes(file: BinaryIO, *, implicit: bool, little_endian: bool) -> DicomAttributes:
    """Nothing of a data set that the library cannot read: its bytes are kept all the same."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return remembered(
                read_dataset(file, implicit, little_endian, stop_when=_is_past_index, specific_tags=[*TAGS])
            )
    except Exception:  # noqa: BLE001  the parser of hostile bytes raises nearly anything
        return DicomAttributes()


def _is_past_index(tag: int, vr: str | None, length: int) -> bool:  # noqa: ARG001 - as pydicom calls it
    return tag > TAGS[-1]


def _values(file: BinaryIO, elements: Elements) -> dict[int, str]:
    """The wanted values by tag, once everything up to the end of the pixel data was seen to be there."""
    values: dict[int, str] = {}
    has_rows = has_pixels = False
    for element in elements:
        has_rows |= element.tag == _ROWS
        has_pixels |= element.tag in (*_PIXEL_DATA, _PIXEL_DATA_PROVIDER_URL)
        if element.tag in _NEEDED or element.tag == _MODALITY:
            values[element.tag] = _text(file, element)
    if has_rows and not has_pixels:
        raise CutOffError  # between two elements
    return values


def _text(file: BinaryIO, element: Element) -> str:
    """The value without padding; one that is too long is no value."""
    if element.length is None or element.length > _LONGEST_VALUE:
        return ""
    return file.read(element.length).decode("ascii", errors="replace").strip("\0 ")


def _inflate(file: BinaryIO, unfolded: IO[bytes], max_bytes: int) -> int:
    """Write a deflated data set (PS3.5, annex A.5) as it was; return its size, with the file at its beginning."""
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    while not inflater.eof:
        deflated = inflater.unconsumed_tail or file.read(_STEP_BYTES)
        if not deflated:
            raise CutOffError
        try:
            unfolded.write(inflater.decompress(deflated, _STEP_BYTES))
        except zlib.error:
            raise _refused("is not deflated as its transfer syntax says") from None
        if unfolded.tell() > max_bytes:
            raise PlatformError(ErrorCode.TOO_LARGE, f"the deflated instance unfolds to more than {max_bytes:,} bytes")
    size_bytes = unfolded.tell()
    unfolded.seek(0)
    return size_bytes
