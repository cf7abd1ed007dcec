"""The images of one series to items: single images, volumes, cine loops."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from hulumed_platform.imaging.context import Context
from hulumed_platform.imaging.dicom.classify import MODALITIES
from hulumed_platform.imaging.dicom.geometry import (
    SAME_POSITION_MM,
    Slice,
    describe,
    flips,
    positions_mm,
    same_orientation,
    spacing_notes,
)
from hulumed_platform.imaging.dicom.grey import choose_grey, is_color
from hulumed_platform.imaging.dicom.header import Header
from hulumed_platform.imaging.dicom.pixels import read_slices
from hulumed_platform.imaging.sampling import sample_frames, sample_slices
from hulumed_platform.imaging.stack import Stack, square_pixels
from hulumed_platform.imaging.types import Kind, Note, PlaneSource, PrepareOptions

SLICED = frozenset({"CT", "MR", "PT", "NM"})
"""Modalities whose instances are slices of one volume even where positions are missing."""
FILMED = frozenset({"US", "XA", "RF", "ES", "IVUS", "IVOCT", "XC", "GM", "OP"})
"""Modalities whose frames follow in time even where no frame time is stated."""
PROJECTIONS = frozenset({"CR", "DX", "MG", "PX", "IO", "RF", "XA", "US"})
"""Modalities whose single frames are pictures of their own, whatever position they carry."""
ASSUMED_FRAME_TIME_S = 1 / 30


def open_series(headers: Sequence[Header], options: PrepareOptions, context: Context) -> list[Stack]:
    """Items of one series: every cine loop, every stack of slices, and what remains as single images."""
    stacks = [_cine(header, options, context) for header in headers if is_cine(header)]
    loose = [Slice(header, i) for header in headers if not is_cine(header) for i in range(header.num_frames)]
    for group in _alike(loose, context):
        stacks += _slices(group, options, context)
    return stacks


def is_cine(header: Header) -> bool:
    """Whether the frames follow in time rather than in space."""
    if header.num_frames == 1 or header.spread:
        return False
    return header.frame_times_s is not None or header.modality in FILMED


def _alike(slices: Sequence[Slice], context: Context) -> Iterator[list[Slice]]:
    """Group slices that can lie in one volume: same shape, same colours, same orientation within a few degrees."""
    groups: list[list[Slice]] = []
    for one in slices:
        context.stopwatch.check()
        for group in groups:
            if _shape(one) == _shape(group[0]) and same_orientation(one.info.orientation, group[0].info.orientation):
                group.append(one)
                break
        else:
            groups.append([one])
    yield from groups


def _shape(one: Slice) -> tuple[int, int, int, str, bool, str]:
    """A slice without a position must not cost the others their order, so it stays apart as well."""
    header = one.header
    # Frames that nothing places in space stay with their own instance.
    alone = header.sop_instance_uid if header.num_frames > 1 and not one.placed else ""
    return header.rows, header.columns, header.samples, header.photometric, one.placed, alone


def _slices(group: list[Slice], options: PrepareOptions, context: Context) -> list[Stack]:
    header, placed = group[0].header, group[0].placed
    projections = header.num_frames == 1 and header.modality in PROJECTIONS
    if len(group) > 1 and placed and not projections:
        return [_volume(part, notes, options, context) for part, notes in _unfold(group)]
    if len(group) > 1 and not placed and (header.modality in SLICED or header.num_frames > 1):
        group.sort(key=_number)
        text = "positions are missing: slices are in order of instance and frame number, which may not be that in space"
        return [_stack(group, None, [Note("order_by_number", text)], options, context)]
    return [_image(one, options) for one in sorted(group, key=_number)]


def _unfold(group: list[Slice]) -> Iterator[tuple[list[Slice], list[Note]]]:
    """Split what lies at the same positions: time points, echoes, acquisitions, frame types."""
    if not _collide(group):
        yield group, []
        return
    times = _parts(group, lambda one: one.info.temporal_position)
    if len(times) > 1 and not any(_collide(part) for part in times):
        first = min(times, key=lambda part: part[0].info.temporal_position or 0)
        yield first, [Note("first_time_point", f"4-D series: the first of {len(times)} time points is shown")]
        return
    for which in range(len(group[0].info.parts)):
        parts = _parts(group, lambda one, which=which: one.info.parts[which])  # type: ignore[misc]
        if len(parts) > 1 and not any(_collide(part) for part in parts):
            text = f"the series holds {len(parts)} stacks at the same positions; each is an item"
            for part in parts:
                yield part, [Note("split_series", text)]
            return
    kept = _first_of_each_position(group)
    text = f"{len(group) - len(kept)} of {len(group)} slices lie where another one lies and were dropped"
    yield kept, [Note("duplicate_positions", text)]


def _parts(group: list[Slice], key: Callable[[Slice], object]) -> list[list[Slice]]:
    parts: dict[object, list[Slice]] = defaultdict(list)
    for one in group:
        parts[key(one)].append(one)
    return list(parts.values())


def _collide(group: Sequence[Slice]) -> bool:
    return len(group) > 1 and float(np.diff(np.sort(positions_mm(group))).min()) < SAME_POSITION_MM


def _first_of_each_position(group: list[Slice]) -> list[Slice]:
    """Of the slices that lie together, the one with the lowest instance number."""
    along = positions_mm(group)
    order = np.argsort(along, kind="stable")
    places = np.cumsum(np.diff(along[order], prepend=along[order[0]]) >= SAME_POSITION_MM)
    by_place: dict[int, list[Slice]] = defaultdict(list)
    for i, place in zip(order, places, strict=True):
        by_place[int(place)].append(group[i])
    return [min(alike, key=_number) for alike in by_place.values()]


def _number(one: Slice) -> tuple[int, str, int]:
    return one.header.instance_number, one.header.sop_instance_uid, one.frame


def _volume(group: list[Slice], notes: list[Note], options: PrepareOptions, context: Context) -> Stack:
    if len(group) == 1:
        return _image(group[0], options)
    along = positions_mm(group)
    order = np.argsort(along, kind="stable")
    ordered = [group[i] for i in order]
    return _stack(ordered, along[order].tolist(), notes + spacing_notes(ordered, along[order]), options, context)


def _stack(
    slices: list[Slice], along_mm: list[float] | None, notes: list[Note], options: PrepareOptions, context: Context
) -> Stack:
    chosen, sampled = sample_slices(len(slices), options, context.limits)
    where = describe(slices[0].info.orientation) if along_mm is not None else "order by number"
    return _build(
        slices,
        options,
        kind=Kind.VOLUME,
        chosen=chosen,
        sources=[_source(slices[i], i, None if along_mm is None else along_mm[i]) for i in chosen],
        description=f"{_name(slices[0].header)} series, {len(slices)} slices, {where}",
        notes=[*notes, *sampled],
        applies={"num_planes"},
    )


def _image(one: Slice, options: PrepareOptions) -> Stack:
    header = one.header
    return _build(
        [one],
        options,
        kind=Kind.IMAGE,
        chosen=[0],
        sources=[_source(one, 0, None)],
        description=f"{_name(header)} image, {header.columns} x {header.rows} pixels",
        notes=[],
        applies=set(),
    )


def _cine(header: Header, options: PrepareOptions, context: Context) -> Stack:
    times_s, assumed = header.frame_times_s, list[Note]()
    if times_s is None:
        times_s = tuple(i * ASSUMED_FRAME_TIME_S for i in range(header.num_frames))
        assumed = [Note("times_assumed", "the file states no frame time: 30 frames a second are assumed")]
    chosen, sampled = sample_frames(times_s, options, context.limits, cine=True)
    slices = [Slice(header, i) for i in range(header.num_frames)]
    return _build(
        slices,
        options,
        kind=Kind.VIDEO,
        chosen=chosen,
        sources=[_source(slices[i], i, None, times_s[i]) for i in chosen],
        description=f"{_name(header)} cine loop, {header.num_frames} frames, {times_s[-1]:.1f} seconds",
        notes=[*assumed, *sampled],
        applies={"num_planes", "start_s", "end_s", "fps"},
    )


def _build(
    slices: list[Slice],
    options: PrepareOptions,
    *,
    kind: Kind,
    chosen: list[int],
    sources: list[PlaneSource],
    description: str,
    notes: list[Note],
    applies: set[str],
) -> Stack:
    first = slices[0]
    header = first.header
    grey, grey_notes = choose_grey(slices, options)
    height_px, width_px, square = square_pixels(header.rows, header.columns, *(first.info.spacing_mm or (1.0, 1.0)))
    axis = {"axis"} if first.placed else set[str]()
    return Stack(
        kind=kind,
        height_px=height_px,
        width_px=width_px,
        planes=tuple(sources),
        read=lambda stopwatch: read_slices(slices, chosen, grey, stopwatch),
        applies=frozenset(applies | axis | (set[str]() if is_color(header) else {"window"})),
        description=description,
        modality=header.modality if header.modality in MODALITIES else None,
        series_instance_uid=header.series_instance_uid or None,
        notes=(*notes, *grey_notes, *square, *_header_notes(slices)),
    )


def _header_notes(slices: Sequence[Slice]) -> tuple[Note, ...]:
    notes = []
    if flips(slices[0].info.orientation) != (1, 1):
        text = "planes are stored mirrored and were turned to the usual display: front or head up, right on the left"
        notes.append(Note("turned_to_usual_display", text))
    if any(one.info.slope_is_zero for one in slices):
        notes.append(Note("slope_ignored", "the file states a rescale slope of 0: values are shown as they are stored"))
    if "MOSAIC" in slices[0].header.image_type:
        notes.append(Note("mosaic", "every picture is a mosaic of several slices"))
    if any(one.header.color_map for one in slices):
        notes.append(Note("color_map_ignored", "the colours of the supplemental palette are not drawn"))
    if any(one.header.overlay for one in slices):
        notes.append(Note("overlay_ignored", "overlay graphics are not drawn"))
    if any(one.header.burned_in for one in slices):
        notes.append(Note("burned_in_annotation", "the file says that text is burned into its pixels"))
    return tuple(notes)


def _source(one: Slice, index: int, position: float | None, time_s: float | None = None) -> PlaneSource:
    header = one.header
    frame = one.frame + 1 if header.num_frames > 1 else None
    return PlaneSource(header.file.digest, header.sop_instance_uid or None, frame, index, time_s, position)


def _name(header: Header) -> str:
    return header.modality if header.modality in MODALITIES else "DICOM"
