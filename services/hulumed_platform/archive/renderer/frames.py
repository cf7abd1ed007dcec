"""Frames of an instance (PS3.18, section 10.4.1.1.4): as they are stored, or decoded."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from hulumed_platform.archive.renderer.refused import RefusedError
from hulumed_platform.archive.renderer.transcode import decoder
from hulumed_platform.archive.renderer.values import to_little_endian
from hulumed_platform.imaging.dicom.encapsulated import encoded_frames, frame_offsets

_IN_PLACE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_LOADED = (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def write_frames(path: Path, out: Path, numbers: Sequence[int] | None, *, decode: bool) -> dict[str, Any]:
    """Write frames one after the other.

    Args:
        numbers: from 1; None = all.
        decode: to values in little endian, colours as RGB by pixel; else compressed frames as they are stored.
    """
    dataset = dcmread(path, stop_before_pixels=True)
    num_frames = max(1, int(dataset.get("NumberOfFrames") or 1))
    if dataset.get("Rows") is None:
        raise RefusedError("the instance has no frames", "not_found")
    wanted = list(range(1, num_frames + 1)) if numbers is None else numbers
    if wanted and max(wanted) > num_frames:
        raise RefusedError(f"the instance has {num_frames} frames", "not_found")
    frames = _frames(path, dataset, [number - 1 for number in wanted], num_frames, decode=decode)
    with out.open("wb") as file:
        lengths = [file.write(frame) for frame in frames]
    return {"lengths": lengths}


def _frames(path: Path, dataset: Dataset, indices: list[int], num_frames: int, *, decode: bool) -> Iterator[bytes]:
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in _IN_PLACE:
        yield from _in_place(path, dataset, indices)
    elif syntax in _LOADED:
        yield from _loaded(path, indices, big_endian=syntax == ExplicitVRBigEndian)
    elif decode:
        plugin = decoder(syntax)
        offsets = frame_offsets(path, dataset, num_frames)
        for values in iter_pixels(path, indices=indices, decoding_plugin=plugin, extended_offsets=offsets):
            yield values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    else:
        yield from encoded_frames(path, indices, num_frames, frame_offsets(path, dataset, num_frames))


def _in_place(path: Path, dataset: Dataset, indices: Sequence[int]) -> Iterator[bytes]:
    """Frames read from where they lie in the file, one at a time."""
    with path.open("rb") as file:
        header = dcmread(file, stop_before_pixels=True, specific_tags=[])
        implicit = header.original_encoding[0]
        head = file.read(8 if implicit else 12)
        start, total = file.tell(), int.from_bytes(head[-4:], "little")
        for index in indices:
            first, last, shift = _place(dataset, index)
            if (last + 7) // 8 > total:
                raise RefusedError("the pixel data of the instance are shorter than its header says")
            file.seek(start + first // 8)
            yield _cut(file.read((last + 7) // 8 - first // 8), last - first, shift)


def _loaded(path: Path, indices: Sequence[int], *, big_endian: bool) -> Iterator[bytes]:
    dataset = dcmread(path)
    if big_endian:
        to_little_endian(dataset)
    content = next(bytes(dataset[name].value) for name in _PIXELS if name in dataset)
    for index in indices:
        first, last, shift = _place(dataset, index)
        yield _cut(content[first // 8 : (last + 7) // 8], last - first, shift)


def _place(dataset: Dataset, index: int) -> tuple[int, int, int]:
    """First and last bit of a frame, and how far it is off the beginning of a byte."""
    samples = int(dataset.get("SamplesPerPixel") or 1)
    pixels = int(dataset.Rows) * int(dataset.Columns)
    bits = pixels * samples * int(dataset.BitsAllocated)
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits // 3 * 2
    return index * bits, (index + 1) * bits, index * bits % 8


def _cut(content: bytes, num_bits: int, shift: int) -> bytes:
    """Frames of one bit a pixel follow each other without padding (PS3.5, section 8.1.1), and are sent from bit 0."""
    if not shift:
        return content
    bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")[shift : shift + num_bits]
    return np.packbits(bits, bitorder="little").tobytes()
