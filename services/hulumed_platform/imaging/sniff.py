"""What a file is, by its content; names and declared types are not looked at."""

import zlib
from enum import StrEnum
from pathlib import Path

from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.types import SourceFile

HEAD_BYTES = 4096
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
"""Pictures in the same box format as MP4."""


class Format(StrEnum):
    """The formats that are read; the value is how messages call them."""

    DICOM = "DICOM"
    NIFTI = "NIfTI"
    NIFTI_GZ = "gzipped NIfTI"
    PICTURE = "picture"
    VIDEO = "video"


def sniff(file: SourceFile) -> Format:
    """Name the format of a file.

    Raises:
        ImagingError: the file is empty, or nothing that can be read; says what to send instead.
    """
    head = _head(file.path)
    if not head:
        raise ImagingError(f"{file.label} is empty (0 bytes). Send it again.")
    known = _of_bytes(head)
    if known is not None:
        return known
    if head.startswith(b"\x1f\x8b"):
        if _is_nifti(_gunzip(head)):
            return Format.NIFTI_GZ
        raise ImagingError(
            f"{file.label} is gzip of something that is not NIfTI. Decompress it and send what is inside.",
            kind="unsupported",
        )
    raise ImagingError(f"{file.label} {_advice(head)}", kind="unsupported")


def _of_bytes(head: bytes) -> Format | None:
    if head[128:132] == b"DICM":
        return Format.DICOM
    if head.startswith(
        (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    ):
        return Format.PICTURE
    if head.startswith(b"RIFF"):
        return {b"WEBP": Format.PICTURE, b"AVI ": Format.VIDEO}.get(head[8:12])
    if (head[4:8] == b"ftyp" and head[8:12] not in HEIF_BRANDS) or head.startswith(b"\x1a\x45\xdf\xa3"):
        return Format.VIDEO
    return Format.NIFTI if _is_nifti(head) else None


def _is_nifti(head: bytes) -> bool:
    """Single-file NIfTI-1 (`n+1` at byte 344) or NIfTI-2 (`n+2` at byte 4)."""
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(HEAD_BYTES)


def _gunzip(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""


ADVICE = (
    (344, (b"ni1\0",), "is the header of a two-file NIfTI pair (.hdr, .img). Send it as one .nii file."),
    (4, (b"ni2\0",), "is the header of a two-file NIfTI pair (.hdr, .img). Send it as one .nii file."),
    (4, (b"ftyp",), "is a HEIC or AVIF picture. Convert it to PNG or JPEG."),
    (0, (b"%PDF",), "is a PDF. Send its pages as pictures, or its words as text."),
    (0, (b"PK\x03\x04",), "is a zip archive. Send the files inside it."),
    (
        0,
        (b"\x02\0\0\0", b"\x08\0\x05\0", b"\x08\0\x08\0", b"\x08\0\0\0", b"\0\x08\0\x05", b"\0\x08\0\x08"),
        "looks like DICOM without the Part 10 header (PS3.10 section 7.1). Export it as a DICOM file.",
    ),
)
"""What to send instead, by (offset, magic bytes at it); the first that fits counts."""


def _advice(head: bytes) -> str:
    for offset, magics, advice in ADVICE:
        if head[offset:].startswith(magics):
            return advice
    if _is_text(head):
        return "is plain text. Send it as text of the message, not as an image."
    return "is none of DICOM, NIfTI, PNG, JPEG, TIFF, WebP, GIF, MP4, AVI, MKV or WebM. Convert it to one of these."


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\r\n\t\f" for character in text)
