"""The attributes of an instance that decide what becomes of it; pixels stay on disk."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from hulumed_platform.imaging.context import Context
from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.foreign import parsing
from hulumed_platform.imaging.types import MEBIBYTE, SourceFile, Window
from hulumed_platform.imaging.window import VoiFunction

OVERLAY_ROWS = 0x60000010
"""Rows of the first overlay plane; repeating groups have no keyword."""
KEYWORDS = """
    AcquisitionNumber BitsAllocated BitsStored BurnedInAnnotation CineRate Columns EchoNumbers FrameTime
    FrameTimeVector ImageOrientationPatient ImagePositionPatient ImageType ImagerPixelSpacing InstanceNumber Modality
    NumberOfFrames PerFrameFunctionalGroupsSequence PhotometricInterpretation PixelAspectRatio PixelPresentation
    PixelRepresentation PixelSpacing RecommendedDisplayFrameRate RescaleIntercept RescaleSlope RescaleType Rows
    SOPClassUID SOPInstanceUID SamplesPerPixel SeriesInstanceUID SeriesNumber SharedFunctionalGroupsSequence
    TemporalPositionIdentifier VOILUTFunction VOILUTSequence WindowCenter WindowWidth
"""
"""Read from every instance; anything else (names, dates, private blocks) is skipped over."""
TAGS: list[BaseTag | int] = [Tag(OVERLAY_ROWS), *(Tag(keyword) for keyword in KEYWORDS.split())]
MAX_FRAMES = 100_000
"""More frames than any acquisition has: a header that says so is broken or hostile."""
MAX_POSITION_MM = 1e6
"""Further away than any scanner puts a patient: such a position is a mistake of the file."""

FRAME_TYPES = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence")

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FrameHeader:
    """What may differ between the frames of one instance. All None where the file does not say."""

    position_mm: Vector | None
    """Image Position (Patient), LPS, 3 values."""
    orientation: Vector | None
    """Image Orientation (Patient), 6 values: along a row, then down a column, both of length 1."""
    spacing_mm: tuple[float, float] | None
    """Pixel Spacing: between rows, between columns."""
    window: Window | None
    """The first of the windows that the file states."""
    num_windows: int
    voi_function: VoiFunction
    rescale: tuple[float, float] | None
    """Slope and intercept, both or neither."""
    slope_is_zero: bool
    """Rescale Slope is 0, which would make every pixel the same: there is then no `rescale`."""
    temporal_position: int | None
    parts: tuple[str, ...]
    """What may tell stacks at the same positions apart: stack id, echo, acquisition, frame type."""


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """One instance; `frames` has one entry for each frame (for all frames alike it is one shared object)."""

    file: SourceFile
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    series_number: int
    instance_number: int
    modality: str
    image_type: tuple[str, ...]
    transfer_syntax_uid: str
    rows: int
    columns: int
    num_frames: int
    samples: int
    bits_stored: int
    bits_allocated: int
    photometric: str
    has_voi_lut: bool
    hounsfield: bool
    frame_times_s: tuple[float, ...] | None
    """Start of each frame, for cine; None where nothing says that frames follow in time."""
    signed: bool
    burned_in: bool
    """Burned In Annotation says YES."""
    overlay: bool
    color_map: bool
    """Pixel Presentation says that some grey values stand for colours of a supplemental palette."""
    spread: bool
    """Whether the frames lie at several positions in space."""
    frames: tuple[FrameHeader, ...]


def read_header(file: SourceFile, context: Context) -> Header:
    """Read the header of one DICOM file, up to the pixels.

    Raises:
        ImagingError: the file is no readable DICOM, or inflates beyond the limits.
    """
    with parsing(file.label, "DICOM header"):
        check_deflated(file, context)
        dataset = dcmread(file.path, stop_before_pixels=True, specific_tags=TAGS)
        return _header(file, dataset)


def check_deflated(file: SourceFile, context: Context) -> None:
    """A deflated data set is inflated whole by whoever reads it, so it is counted first (PS3.5 section A.5)."""
    meta = read_file_meta_info(file.path)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    encoded_bytes, decoded_bytes = file.path.stat().st_size, 0
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    with file.path.open("rb") as stream:
        # Preamble, prefix, the 12 bytes of the group length element, and the group that it measures.
        stream.seek(128 + 4 + 12 + int(meta.FileMetaInformationGroupLength))
        while chunk := inflate.unconsumed_tail or stream.read(MEBIBYTE):
            decoded_bytes += len(inflate.decompress(chunk, 16 * MEBIBYTE))
            context.check_inflated(decoded_bytes, encoded_bytes, file.label)
            if inflate.eof:
                return


def _header(file: SourceFile, dataset: Dataset) -> Header:
    num_frames = max(1, _integer(dataset, "NumberOfFrames", 1))
    if num_frames > MAX_FRAMES:
        raise ImagingError(
            f"{file.label} says it has {num_frames} frames, over {MAX_FRAMES}. Split it.", kind="too_large"
        )
    frames = _frames(dataset, num_frames, file.label)
    bits_allocated = _integer(dataset, "BitsAllocated", 8)
    return Header(
        file=file,
        sop_class_uid=_text(dataset, "SOPClassUID"),
        sop_instance_uid=_text(dataset, "SOPInstanceUID"),
        series_instance_uid=_text(dataset, "SeriesInstanceUID"),
        series_number=_integer(dataset, "SeriesNumber", 0),
        instance_number=_integer(dataset, "InstanceNumber", 0),
        modality=_text(dataset, "Modality") or "OT",
        image_type=tuple(str(value).strip().upper() for value in _values(dataset, "ImageType")),
        transfer_syntax_uid=str(dataset.file_meta.get("TransferSyntaxUID", "")),
        rows=_integer(dataset, "Rows", 0),
        columns=_integer(dataset, "Columns", 0),
        num_frames=num_frames,
        samples=_integer(dataset, "SamplesPerPixel", 1),
        bits_stored=_integer(dataset, "BitsStored", bits_allocated),
        bits_allocated=bits_allocated,
        photometric=_text(dataset, "PhotometricInterpretation"),
        has_voi_lut=bool(dataset.get("VOILUTSequence")),
        hounsfield=_text(dataset, "RescaleType") in ("", "HU", "HU_MOD"),
        frame_times_s=_frame_times_s(dataset, num_frames),
        signed=_integer(dataset, "PixelRepresentation", 0) == 1,
        burned_in=_text(dataset, "BurnedInAnnotation").upper() == "YES",
        overlay=OVERLAY_ROWS in dataset,
        color_map=_text(dataset, "PixelPresentation") in ("COLOR", "MIXED"),
        spread=len({tuple(np.round(f.position_mm, 3)) for f in frames if f.position_mm is not None}) > 1,
        frames=frames,
    )


def _frames(dataset: Dataset, num_frames: int, label: str) -> tuple[FrameHeader, ...]:
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]))
    if not per_frame:
        return (_frame(dataset, shared, Dataset()),) * num_frames
    if len(per_frame) < num_frames:
        raise ImagingError(f"{label} has {num_frames} frames but describes {len(per_frame)}. Export it again.")
    return tuple(_frame(dataset, shared, group) for group in list(per_frame)[:num_frames])


def _frame(dataset: Dataset, shared: Dataset, group: Dataset) -> FrameHeader:
    """Per-frame values go before shared ones, and those before the instance's own (PS3.3 C.7.6.16)."""

    def macro(sequence: str) -> Dataset:
        for owner in (group, shared):
            if owner.get(sequence):
                return Dataset(owner[sequence].value[0])
        return dataset

    voi, content = macro("FrameVOILUTSequence"), macro("FrameContentSequence")
    transformation = macro("PixelValueTransformationSequence")
    slope = _numbers(transformation, "RescaleSlope", 1, ())
    slope_is_zero = slope == (0.0,)
    function = _text(voi, "VOILUTFunction").upper() or VoiFunction.LINEAR
    if "PixelMeasuresSequence" in shared or "PixelMeasuresSequence" in group:
        spacing_mm = _pair(_numbers(macro("PixelMeasuresSequence"), "PixelSpacing", 2, ()))
    else:
        spacing_mm = _spacing_mm(dataset)
    return FrameHeader(
        position_mm=_position_mm(macro("PlanePositionSequence")),
        orientation=_orientation(macro("PlaneOrientationSequence")),
        spacing_mm=spacing_mm,
        window=_window(voi),
        num_windows=len(_values(voi, "WindowCenter")),
        voi_function=VoiFunction(function) if function in list(VoiFunction) else VoiFunction.LINEAR,
        rescale=None if slope_is_zero else _pair((*slope, *_numbers(transformation, "RescaleIntercept", 1, ()))),
        slope_is_zero=slope_is_zero,
        temporal_position=_integer_or_none(content, "TemporalPositionIndex", "TemporalPositionIdentifier"),
        parts=_parts(dataset, content, group),
    )


def _parts(dataset: Dataset, content: Dataset, group: Dataset) -> tuple[str, ...]:
    frame_type = [item for name in FRAME_TYPES for item in group.get(name) or []]
    return (
        _text(content, "StackID"),
        _text(dataset, "EchoNumbers"),
        _text(dataset, "AcquisitionNumber"),
        str(frame_type[0].get("FrameType") if frame_type else dataset.get("ImageType")),
    )


def _spacing_mm(dataset: Dataset) -> tuple[float, float] | None:
    """Between rows and between columns; the aspect ratio (vertical, horizontal) serves where no spacing is known."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        if spacing := _pair(_numbers(dataset, keyword, 2, ())):
            return spacing
    return None


def _window(owner: Dataset) -> Window | None:
    center, width = _numbers(owner, "WindowCenter", 1, ()), _numbers(owner, "WindowWidth", 1, ())
    return Window(center[0], width[0]) if center and width and width[0] > 0 else None


def _frame_times_s(dataset: Dataset, num_frames: int) -> tuple[float, ...] | None:
    """PS3.3 C.7.6.5: Frame Time Vector, Frame Time, Cine Rate or the recommended display rate, in this order."""
    vector = _numbers(dataset, "FrameTimeVector", num_frames, ())
    if vector and min(vector) >= 0:
        return tuple(float(time_ms) / 1000 for time_ms in np.cumsum(vector) - vector[0])
    step_s = _numbers(dataset, "FrameTime", 1, (0.0,))[0] / 1000
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = _numbers(dataset, keyword, 1, (0.0,))[0]
        if step_s <= 0 and rate > 0:
            step_s = 1 / rate
    return tuple(i * step_s for i in range(num_frames)) if step_s > 0 else None


def _values(owner: Dataset, keyword: str) -> list[Any]:
    value = owner.get(keyword)
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]


def _text(owner: Dataset, keyword: str) -> str:
    return str(owner.get(keyword) or "").strip(" \0")


def _integer(owner: Dataset, keyword: str, default: int) -> int:
    found = _integer_or_none(owner, keyword)
    return default if found is None else found


def _integer_or_none(owner: Dataset, *keywords: str) -> int | None:
    for keyword in keywords:
        if numbers := _numbers(owner, keyword, 1, ()):
            return int(numbers[0])
    return None


def _numbers(owner: Dataset, keyword: str, count: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """The first `count` values as finite floats; `default` where there are fewer."""
    numbers = tuple(float(value) for value in _values(owner, keyword)[:count])
    return numbers if len(numbers) == count and bool(np.isfinite(numbers).all()) else default


def _position_mm(owner: Dataset) -> Vector | None:
    position_mm = np.array(_numbers(owner, "ImagePositionPatient", 3, (np.inf,)))
    return position_mm if np.abs(position_mm).max() < MAX_POSITION_MM else None


def _orientation(owner: Dataset) -> Vector | None:
    sides = np.array(_numbers(owner, "ImageOrientationPatient", 6, (0.0,) * 6)).reshape(2, 3)
    lengths = np.linalg.norm(sides, axis=1, keepdims=True)
    return (sides / lengths).ravel() if lengths.min() > 0 else None


def _pair(numbers: tuple[float, ...]) -> tuple[float, float] | None:
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None
