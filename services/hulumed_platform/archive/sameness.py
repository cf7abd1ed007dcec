"""Is it the same instance, though not the same file? Each door writes file meta information of its own."""

import struct
from typing import BinaryIO

from hulumed_platform.storage.objects import CHUNK_BYTES

_PREAMBLE_BYTES = 128
_GROUP_LENGTH = b"DICM\x02\x00\x00\x00UL\x04\x00"
"""Prefix, then (0002,0000) in Explicit VR Little Endian, as PS3.10, section 7.1 has it."""


def have_same_data_set(one: BinaryIO, other: BinaryIO) -> bool:
    """Whether two DICOM files (PS3.10) differ at most in preamble and file meta information.

    Both are read from where they stand, to their end or to the first difference, and need not be able to seek. A file
    without File Meta Information Group Length is the same as no other.
    """
    if not (_skip_meta(one) and _skip_meta(other)):
        return False
    while True:
        chunk, other_chunk = one.read(CHUNK_BYTES), other.read(CHUNK_BYTES)
        if chunk != other_chunk:
            return False
        if not chunk:
            return True


def _skip_meta(file: BinaryIO) -> bool:
    head = file.read(_PREAMBLE_BYTES + len(_GROUP_LENGTH) + 4)
    if head[_PREAMBLE_BYTES:-4] != _GROUP_LENGTH:
        return False
    (length,) = struct.unpack("<I", head[-4:])
    while length:
        skipped = len(file.read(min(length, CHUNK_BYTES)))
        if not skipped:
            return False
        length -= skipped
    return True
