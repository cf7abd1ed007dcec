"""Where the pieces of encapsulated Pixel Data lie in a file (PS3.5 section A.4)."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

from pydicom import Dataset, dcmread
from pydicom.encaps import generate_fragments, get_frame, parse_basic_offsets, parse_fragments

Offsets: TypeAlias = tuple[list[int], list[int]] | tuple[bytes, bytes] | None
"""Where frames start, behind the Basic Offset Table, and their lengths; bytes as in the Extended Offset Table."""

ITEM_HEADER_BYTES = 8
"""Tag and length of a fragment."""


def fragments(path: Path) -> Iterator[bytes]:
    """The fragments of a file, one by one."""
    with _opened(path) as source:
        parse_basic_offsets(source)
        yield from generate_fragments(source)


def encoded_frames(path: Path, indices: Sequence[int], num_frames: int, offsets: Offsets) -> Iterator[bytes]:
    """The frames `indices` (0-based) of a file as they are stored, in this order."""
    with _opened(path) as source:
        for index in indices:
            yield get_frame(source, index, number_of_frames=num_frames, extended_offsets=offsets)


def frame_offsets(path: Path, dataset: Dataset, num_frames: int) -> Offsets:
    """Where the frames of a file lie: pydicom alone walks through all of it for every frame.

    None where a Basic Offset Table says it, or where frames are not one fragment each.
    """
    if "ExtendedOffsetTable" in dataset:
        return dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
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
        # Tag, VR, two reserved bytes, undefined length. The standard wants the VR explicit here, not every file has it.
        explicit = source.read(6)[4:] in (b"OB", b"OW", b"UN")
        source.seek(6 if explicit else 2, 1)
        yield source
