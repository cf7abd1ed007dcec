"""The size that a compressed picture states itself, read before anything is decoded.

Decoders allocate by what the codestream says, whatever Rows and Columns say: a file of some kilobytes would get
gigabytes.
"""

import struct
from collections.abc import Iterator

START_OF_SCAN = 0xDA
FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Start of Frame of JPEG (ITU-T T.81 table B.1) and of JPEG-LS (ITU-T T.87)."""
J2K_START = b"\xff\x4f\xff\x51"
"""Start of a JPEG 2000 codestream and its SIZ segment (ISO/IEC 15444-1 annex A)."""


def stated_sizes(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    """Every (height, width, samples a pixel) that a JPEG, JPEG-LS or JPEG 2000 picture states.

    Raises:
        ValueError: the codestream is cut short, or none of these.
    """
    if encoded.startswith(b"\xff\xd8"):
        yield from _jpeg_sizes(encoded)
    else:
        yield _j2k_size(encoded)


def _jpeg_sizes(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    at, marker = 2, 0
    while marker != START_OF_SCAN:
        start, marker, length = _unpack(">BBH", encoded, at)
        if start != 0xFF:
            raise ValueError("no marker where one must be")
        if marker == 0xFF:
            at += 1
            continue
        if marker in FRAME_MARKERS:
            height_px, width_px, samples = _unpack(">HHB", encoded, at + 5)
            yield height_px, width_px, samples
        at += 2 + length


def _j2k_size(encoded: bytes) -> tuple[int, int, int]:
    at = 0 if encoded.startswith(J2K_START) else _j2k_in_boxes(encoded)
    if encoded[at : at + len(J2K_START)] != J2K_START:
        raise ValueError("no JPEG 2000 codestream")
    right, bottom, left, top = _unpack(">LLLL", encoded, at + 8)
    (samples,) = _unpack(">H", encoded, at + 40)
    return bottom - top, right - left, samples


def _j2k_in_boxes(encoded: bytes) -> int:
    """Where the codestream starts in a JP2 file, which DICOM forbids and some write."""
    at = 0
    while True:
        (length,) = _unpack(">L", encoded, at)
        header = 16 if length == 1 else 8
        if encoded[at + 4 : at + 8] == b"jp2c":
            return at + header
        at += _unpack(">Q", encoded, at + 8)[0] if length == 1 else max(length, header)


def _unpack(layout: str, encoded: bytes, at: int) -> tuple[int, ...]:
    if at + struct.calcsize(layout) > len(encoded):
        raise ValueError("the codestream is cut short")
    return struct.unpack_from(layout, encoded, at)
