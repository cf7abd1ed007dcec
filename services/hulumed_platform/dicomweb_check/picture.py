"""As much of JPEG and PNG as it takes to see whether a rendering is right."""

import struct
import zlib

_PNG = b"\x89PNG\r\n\x1a\n"
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Samples a pixel, by PNG colour type."""


def size_of(picture: bytes) -> tuple[int, int]:
    """Width and height in pixels.

    Raises:
        ValueError: it is neither JPEG nor PNG.
    """
    if picture.startswith(_PNG):
        width, height = struct.unpack(">II", picture[16:24])
        return width, height
    if picture.startswith(b"\xff\xd8"):
        return _jpeg_size(picture)
    raise ValueError(f"neither JPEG nor PNG: it begins with {picture[:8].hex()}")


def first_row(png: bytes) -> list[int]:
    """The first channel of the first row of a PNG of 8 bits, not interlaced.

    Raises:
        ValueError: it is another kind of PNG.
    """
    width, _, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", png[16:29])
    if not png.startswith(_PNG) or depth != 8 or colour not in _CHANNELS or interlaced:
        raise ValueError("no PNG of 8 bits a sample without interlacing")
    channels = _CHANNELS[colour]
    data = zlib.decompressobj().decompress(_image_data(png), 1 + width * channels)
    return list(_unfiltered(data, channels)[::channels])


def _unfiltered(line: bytes, channels: int) -> bytes:
    """Undo the filter of a first row: the row above it is zero, so Up is None, and Paeth is Sub."""
    kind, row = line[0], bytearray(line[1:])
    for at in range(channels, len(row)):
        left = row[at - channels]
        if kind in (1, 4):
            row[at] = (row[at] + left) % 256
        elif kind == 3:
            row[at] = (row[at] + left // 2) % 256
    return bytes(row)


def _image_data(png: bytes) -> bytes:
    found, at = bytearray(), 8
    while at + 8 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            found += png[at + 8 : at + 8 + length]
        at += length + 12
    return bytes(found)


def _jpeg_size(jpeg: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(jpeg):
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4])
        if marker in _FRAME_HEADERS:
            height, width = struct.unpack(">HH", jpeg[at + 5 : at + 9])
            return width, height
        at += 2 + length
    raise ValueError("a JPEG without frame header")
