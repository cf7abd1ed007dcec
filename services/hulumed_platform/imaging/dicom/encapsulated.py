"""Where the pieces of encapsulated Pixel Data lie in a file (PS3.5 section A.4)."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmread
from pydicom.encaps import generate_fragments, parse_basic_offsets, parse_fragments

PIXEL_DATA_HEADER_BYTES = 12
"""Tag, VR, two reserved bytes and the undefined length of encapsulated Pixel Data."""
ITEM_HEADER_BYTES = 8
"""Tag and length of a fragment."""


def fragments(path: Path) -> Iterator[bytes]:
    """The fragments of a file, one by one."""
    with _opened(path) as source:
        parse_basic_offsets(source)
        yield from generate_fragments(source)


def frame_offsets(path: Path, num_frames: int) -> tuple[list[int], list[int]] | None:
    """Offset of every frame after the (empty) Basic Offset Table, and its length in bytes.

    None where the file has a table of its own, or where frames are not one fragment each. Without either, pydicom
    walks through the whole file once for every frame.
    """
    with _opened(path) as source:
        if parse_basic_offsets(source):
            return None
        start = source.tell()
        count, places = parse_fragments(source)
        if count != num_frames:
            return None
        lengths = []
        for place in places:
            source.seek(place + ITEM_HEADER_BYTES // 2)
            lengths.append(struct.unpack("<L", source.read(4))[0])
        return [place - start for place in places], lengths


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as source:
        dcmread(source, stop_before_pixels=True, specific_tags=[])
        source.seek(PIXEL_DATA_HEADER_BYTES, 1)
        yield source
