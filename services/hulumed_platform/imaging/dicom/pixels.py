"""DICOM frames to what is shown: decoding, modality LUT, VOI, photometric interpretation (PS3.3 C.7.6.3, C.11)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    UncompressedTransferSyntaxes,
)

from hulumed_platform.imaging.context import Stopwatch
from hulumed_platform.imaging.dicom.codestream import stated_sizes
from hulumed_platform.imaging.dicom.encapsulated import encoded_frames, frame_offsets
from hulumed_platform.imaging.dicom.geometry import Slice, flips
from hulumed_platform.imaging.dicom.grey import Grey, is_color
from hulumed_platform.imaging.dicom.header import Header
from hulumed_platform.imaging.dicom.isolated import IsolatedDecoder
from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.foreign import parsing
from hulumed_platform.imaging.sampling import evenly
from hulumed_platform.imaging.stack import Pixels
from hulumed_platform.imaging.types import Window
from hulumed_platform.imaging.window import SAMPLED_PLANES, Values, apply_window, robust_window

MEND = "Check that the file is complete, or export it uncompressed"

ISOLATED: dict[str, str] = {
    JPEGLossless: "gdcm",
    JPEGLosslessSV1: "gdcm",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
}
"""Which decoder, in a process of its own, for which transfer syntax."""
PLUGINS: dict[str, str] = {
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: "pillow",
    JPEG2000: "pylibjpeg",
    JPEG2000Lossless: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    RLELossless: "pydicom",
}
"""Which decoder in this process: left to itself, pydicom tries all that are there on broken bytes. GDCM then
aborts the process, and pylibjpeg's RLE decoder panics with what is no `Exception`."""

READABLE = frozenset({*UncompressedTransferSyntaxes, *ISOLATED, *PLUGINS})

Mask = npt.NDArray[np.bool_]
Stored = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame: stored values, and the attributes of group 0028 that explain them."""

    slice: Slice
    stored: Stored
    dataset: Dataset


def read_slices(slices: Sequence[Slice], chosen: Sequence[int], grey: Grey, stopwatch: Stopwatch) -> Iterator[Pixels]:
    """Show the chosen slices in order; percentiles, where `grey` asks for them, look at the whole stack."""
    window = grey.window
    if window is None and not grey.lut and not is_color(slices[0].header):
        window = _percentile_window([slices[i] for i in evenly(len(slices), SAMPLED_PLANES)], stopwatch)
    row_step, column_step = flips(slices[0].info.orientation)
    for frame in _decode([slices[i] for i in chosen], stopwatch):
        with parsing(frame.slice.header.file.label, "DICOM image"):
            pixels = _show(frame, window, grey)
        yield np.ascontiguousarray(pixels[::row_step, ::column_step])


def _decode(slices: Sequence[Slice], stopwatch: Stopwatch) -> Iterator[Frame]:
    """Decode frame by frame; neighbours in the same file share one pass over it."""
    with IsolatedDecoder(stopwatch.timeout_s) as isolated:
        for _, group in groupby(slices, key=lambda s: s.header.file.digest):
            run = list(group)
            header, label = run[0].header, run[0].header.file.label
            with parsing(label, "DICOM image", MEND):
                dataset, arrays = _open(header, [s.frame for s in run], isolated)
            for part in run:
                stopwatch.check()
                with parsing(label, "DICOM image", MEND):
                    stored = next(arrays)
                yield Frame(part, stored, dataset)


def _open(header: Header, frames: list[int], isolated: IsolatedDecoder) -> tuple[Dataset, Iterator[Stored]]:
    """The attributes that explain the frames, and the frames, decoded one by one."""
    path, syntax = header.file.path, header.transfer_syntax_uid
    whole = header.num_frames == 1 or syntax == DeflatedExplicitVRLittleEndian
    dataset = dcmread(path, stop_before_pixels=not whole or syntax in ISOLATED)
    if syntax in UncompressedTransferSyntaxes:
        return dataset, iter_pixels(dataset if whole else path, indices=frames)
    offsets = frame_offsets(path, dataset, header.num_frames)
    if syntax in ISOLATED:
        arrays = isolated.frames(path, frames, ISOLATED[syntax])
    else:
        source, plugin = dataset if whole else path, PLUGINS[syntax]
        arrays = iter_pixels(source, indices=frames, decoding_plugin=plugin, extended_offsets=offsets)
    if syntax == RLELossless:
        return dataset, arrays
    return dataset, _checked(arrays, encoded_frames(path, frames, header.num_frames, offsets), header)


def _checked(arrays: Iterator[Stored], encoded: Iterator[bytes], header: Header) -> Iterator[Stored]:
    """Decode only what is as large as the header says, which was held against the limits."""
    for content in encoded:
        for height_px, width_px, samples in stated_sizes(content):
            if (height_px, width_px) != (header.rows, header.columns) or samples > header.samples:
                raise ImagingError(
                    f"{header.file.label}: the header says {header.columns} x {header.rows} x {header.samples} values, "
                    f"the compressed image {width_px} x {height_px} x {samples}. Export it again."
                )
        yield next(arrays)


def _show(frame: Frame, window: Window | None, grey: Grey) -> Pixels:
    header, stored = frame.slice.header, frame.stored
    if header.photometric == "PALETTE COLOR":
        return _to_8_bits(apply_color_lut(stored, frame.dataset)[..., :3], None)
    if header.samples > 1:
        return _to_8_bits(stored[..., :3], header.bits_stored)
    values = _modality(frame)
    shown = apply_window(values, window, grey.function) if window is not None else _voi_lut(values, frame)
    if header.photometric == "MONOCHROME1":
        shown = 255 - shown
    padding = _padding(frame)
    if padding is not None:
        shown[padding] = 0
    return shown


def _modality(frame: Frame) -> Values:
    """Stored values to units of the modality: Modality LUT, else slope and intercept of the frame, else as stored."""
    if frame.dataset.get("ModalityLUTSequence"):
        return apply_modality_lut(frame.stored, frame.dataset)
    rescale = frame.slice.info.rescale
    if rescale is None or rescale == (1.0, 0.0):
        return frame.stored
    slope, intercept = rescale
    values: Values = frame.stored * np.float32(slope) + np.float32(intercept)
    return values


def _voi_lut(values: Values, frame: Frame) -> Pixels:
    item = frame.dataset.VOILUTSequence[0]
    mapped = apply_voi(np.rint(values).astype(np.int32), frame.dataset)
    return _to_8_bits(mapped, int(item.LUTDescriptor[2]))


def _to_8_bits(values: npt.NDArray[Any], bits: int | None) -> Pixels:
    depth = bits or values.dtype.itemsize * 8
    if depth > 8:
        return (values >> (depth - 8)).clip(0, 255).astype(np.uint8)
    return values.astype(np.uint8)


def _padding(frame: Frame) -> Mask | None:
    """Pixels outside the image: Pixel Padding Value, or the range up to its limit (PS3.3 C.7.5.1.1.2)."""
    value = frame.dataset.get("PixelPaddingValue")
    if value is None:
        return None
    # A value that was written with the other signedness wraps to the stored one.
    first = np.asarray(int(value), np.int64).astype(frame.stored.dtype)
    limit = frame.dataset.get("PixelPaddingRangeLimit")
    if limit is None:
        return np.asarray(frame.stored == first)
    last = np.asarray(int(limit), np.int64).astype(frame.stored.dtype)
    return np.asarray((frame.stored >= min(first, last)) & (frame.stored <= max(first, last)))


def _percentile_window(slices: Sequence[Slice], stopwatch: Stopwatch) -> Window:
    def values() -> Iterator[Values]:
        for frame in _decode(slices, stopwatch):
            with parsing(frame.slice.header.file.label, "DICOM image"):
                plane = _modality(frame).astype(np.float32)
                padding = _padding(frame)
                if padding is not None:
                    plane[padding] = np.nan
            yield plane

    return robust_window(values())
