"""The images of one series to items: single images, volumes, cine loops."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from hulumed_platform.imaging.context import Context
from hulumed_platform.imaging.dicom.classify import MODALITIES
from hulumed_platform.imaging.dicom.geometry import (
    SAME_POSITION_MM,
    Slice,
    describe,
    positions_mm,
    same_orientation,
    spacing_notes,
)
from hulumed_platform.imaging.dicom.header import Header
from hulumed_platform.imaging.dicom.pixels import Grey, is_color, read_slices
from hulumed_platform.imaging.sampling import sample_frames, sample_slices
from hulumed_platform.imaging.stack import Pixels, Stack, square_pixels
from hulumed_platform.imaging.types import Kind, Note, PlaneSource, PrepareOptions, Window
from hulumed_platform.imaging.window import VoiFunction

SLICED = frozenset({"CT", "MR", "PT", "NM"})
"""Modalities whose instances are slices of one volume even where positions are missing."""
FILMED = frozenset({"US", "XA", "RF", "ES", "IVUS", "IVOCT", "XC", "GM", "OP"})
"""Modalities whose frames follow in time even where no frame time is stated."""
ASSUMED_FRAME_TIME_S = 1 / 30
SOFT_TISSUE = Window(40.0, 400.0)
"""What a CT without a window of its own is shown in, in HU."""
VIDEO_OPTIONS = frozenset({"num_planes", "start_s", "end_s", "fps"})


def open_series(headers: Sequence[Header], options: PrepareOptions, context: Context) -> list[Stack]:
    """Items of one series: every cine loop, every stack of slices, and what remains as single images."""
    stacks = [_cine(header, options, context) for header in headers if is_cine(header)]
    loose = [Slice(header, i) for header in headers if not is_cine(header) for i in range(header.num_frames)]
    for group in _alike(loose):
        stacks += _slices(group, options, context)
    return stacks


def is_cine(header: Header) -> bool:
    """Whether the frames follow in time rather than in space."""
    if header.num_frames == 1 or _num_positions(header) > 1:
        return False
    return header.frame_times_s is not None or header.modality in FILMED


def _num_positions(header: Header) -> int:
    positions = [frame.position_mm for frame in header.frames if frame.position_mm is not None]
    return len({tuple(np.round(position, 3)) for position in positions})


def _alike(slices: Sequence[Slice]) -> Iterator[list[Slice]]:
    """Group slices that can lie in one volume: same shape, same colours, same orientation within a few degrees."""
    groups: list[list[Slice]] = []
    for one in slices:
        for group in groups:
            if _shape(one) == _shape(group[0]) and same_orientation(one.info.orientation, group[0].info.orientation):
                group.append(one)
                break
        else:
            groups.append([one])
    yield from groups


def _shape(one: Slice) -> tuple[int, int, int, str]:
    header = one.header
    return header.rows, header.columns, header.samples, header.photometric


def _slices(group: list[Slice], options: PrepareOptions, context: Context) -> list[Stack]:
    header = group[0].header
    placed = all(one.placed for one in group)
    if len(group) > 1 and placed and (header.modality not in PROJECTIONS):
        return [_volume(part, notes, options, context) for part, notes in _unfold(group)]
    if len(group) > 1 and not placed and (header.modality in SLICED or header.num_frames > 1):
        group.sort(key=lambda one: (one.header.instance_number, one.header.sop_instance_uid, one.frame))
        text = "positions are missing: slices are in order of instance and frame number, which may not be that in space"
        return [_stack(group, None, [Note("order_by_number", text)], options, context)]
    ordered = sorted(group, key=lambda one: (one.header.instance_number, one.header.sop_instance_uid, one.frame))
    return [_image(one, options, context) for one in ordered]


PROJECTIONS = frozenset({"CR", "DX", "MG", "PX", "IO", "RF", "XA", "US"})
"""Modalities whose single frames are pictures of their own, whatever position they carry."""


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
    order = sorted(group, key=lambda one: (one.header.instance_number, one.frame))
    along = positions_mm(group)
    place = {id(one): round(float(at) / SAME_POSITION_MM) for one, at in zip(group, along, strict=True)}
    kept = {place[id(one)]: one for one in reversed(order)}
    return [one for one in group if kept[place[id(one)]] is one]


def _volume(group: list[Slice], notes: list[Note], options: PrepareOptions, context: Context) -> Stack:
    if len(group) == 1:
        return _image(group[0], options, context)
    along = positions_mm(group)
    order = np.argsort(along, kind="stable")
    ordered = [group[i] for i in order]
    return _stack(ordered, along[order].tolist(), notes + spacing_notes(ordered, along[order]), options, context)


def _stack(
    slices: list[Slice], along_mm: list[float] | None, notes: list[Note], options: PrepareOptions, context: Context
) -> Stack:
    chosen, sampled = sample_slices(len(slices), options, context.limits)
    grey, grey_notes = choose_grey(slices, options)
    where = describe(slices[0].info.orientation) if along_mm is not None else "order by number"
    return _build(
        Kind.VOLUME,
        slices,
        chosen,
        [_source(slices[i], i, None if along_mm is None else along_mm[i]) for i in chosen],
        grey,
        f"{_name(slices[0].header)} series, {len(slices)} slices, {where}",
        (*notes, *sampled, *grey_notes),
        frozenset({"num_planes"}),
    )


def _image(one: Slice, options: PrepareOptions, context: Context) -> Stack:
    grey, notes = choose_grey([one], options)
    header = one.header
    text = f"{_name(header)} image, {header.columns} x {header.rows} pixels"
    return _build(Kind.IMAGE, [one], [0], [_source(one, 0, None)], grey, text, notes, frozenset())


def _cine(header: Header, options: PrepareOptions, context: Context) -> Stack:
    times_s, notes = header.frame_times_s, list[Note]()
    if times_s is None:
        times_s = tuple(i * ASSUMED_FRAME_TIME_S for i in range(header.num_frames))
        notes.append(Note("times_assumed", "the file states no frame time: 30 frames a second are assumed"))
    chosen, sampled = sample_frames(times_s, options, context.limits, cine=True)
    slices = [Slice(header, i) for i in range(header.num_frames)]
    grey, grey_notes = choose_grey(slices, options)
    sources = [_source(slices[i], i, None, times_s[i]) for i in chosen]
    text = f"{_name(header)} cine loop, {header.num_frames} frames, {times_s[-1]:.1f} seconds"
    return _build(Kind.VIDEO, slices, chosen, sources, grey, text, (*notes, *sampled, *grey_notes), VIDEO_OPTIONS)


def _build(
    kind: Kind,
    slices: list[Slice],
    chosen: list[int],
    sources: list[PlaneSource],
    grey: Grey,
    description: str,
    notes: tuple[Note, ...],
    applies: frozenset[str],
) -> Stack:
    first = slices[0]
    header = first.header
    height_px, width_px, square = square_pixels(header.rows, header.columns, *(first.info.spacing_mm or (1.0, 1.0)))
    axis = frozenset({"axis"}) if first.placed else frozenset()

    def read() -> Iterator[Pixels]:
        return read_slices(slices, chosen, grey)

    return Stack(
        kind=kind,
        height_px=height_px,
        width_px=width_px,
        planes=tuple(sources),
        read=read,
        applies=applies | axis | (frozenset() if is_color(header) else {"window"}),
        description=description,
        modality=header.modality if header.modality in MODALITIES else None,
        series_instance_uid=header.series_instance_uid or None,
        notes=(*notes, *square, *_header_notes(slices)),
    )


def choose_grey(slices: Sequence[Slice], options: PrepareOptions) -> tuple[Grey, tuple[Note, ...]]:
    """One grey rule for all slices: asked for, else the file's, else by modality, else robust percentiles."""
    header = slices[0].header
    if is_color(header):
        return Grey(None), ()
    if options.window is not None:
        return Grey(options.window, VoiFunction.LINEAR_EXACT), ()
    if all(one.header.has_voi_lut for one in slices):
        return Grey(None, lut=True), ()
    windows = Counter((one.info.window, one.info.voi_function) for one in slices if one.info.window is not None)
    if windows:
        (window, function), count = windows.most_common(1)[0]
        if 2 * count > len(slices):
            text = f"slices state {len(windows)} windows; the most common one is used for all"
            return Grey(window, function), (Note("window_most_common", text),) if len(windows) > 1 else ()
    if header.modality == "CT" and header.hounsfield and slices[0].info.rescale is not None:
        text = "no common window is stated: soft tissue, centre 40 and width 400 HU, is shown"
        return Grey(SOFT_TISSUE, VoiFunction.LINEAR_EXACT), (Note("window_default", text),)
    if header.bits_stored <= 8 and not header.signed and slices[0].info.rescale in (None, (1.0, 0.0)):
        top = 2.0**header.bits_stored - 1
        return Grey(Window(top / 2, top), VoiFunction.LINEAR_EXACT), ()
    text = "values between the 0.5th and the 99.5th percentile of the whole item are shown black to white"
    return Grey(None, VoiFunction.LINEAR_EXACT), (Note("window_percentiles", text),)


def _header_notes(slices: Sequence[Slice]) -> tuple[Note, ...]:
    notes = []
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
