"""Which planes of many: spread evenly, in order, never one twice."""

import math
from bisect import bisect_right
from collections.abc import Sequence

from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.types import Limits, Note, PrepareOptions

DEFAULT_VOLUME_PLANES = 180
"""Published default of `nii_num_slices`."""
DEFAULT_VIDEO_PLANES = 128
"""Published default of `max_frames`."""
DEFAULT_VIDEO_FPS = 1.0
"""Published default."""
DEFAULT_CINE_PLANES = 16
"""A cine loop is a heart beat or two: at the published 1 fps hardly anything of its motion would be left."""


EPSILON = 1e-6
"""Of a tick or a second, for time stamps that were rounded."""


def evenly(count: int, wanted: int) -> list[int]:
    """`wanted` of `count` indices, both ends included (one: the middle); all of them where `wanted` >= `count`."""
    if wanted >= count:
        return list(range(count))
    if wanted == 1:
        return [count // 2]
    gaps = wanted - 1
    return [(2 * i * (count - 1) + gaps) // (2 * gaps) for i in range(wanted)]


def sample_slices(count: int, options: PrepareOptions, limits: Limits) -> tuple[list[int], tuple[Note, ...]]:
    """Slices of a volume to take, and what to tell about it."""
    asked = options.num_planes
    wanted = min(asked or DEFAULT_VOLUME_PLANES, limits.max_planes)
    return evenly(count, wanted), _sampled(count, wanted, asked, "slices")


def sample_frames(
    times_s: Sequence[float], options: PrepareOptions, limits: Limits, *, cine: bool = False
) -> tuple[list[int], tuple[Note, ...]]:
    """Frames of a video to take, and what to tell about it.

    Args:
        times_s: when each frame is shown, ascending, from the start of the video.
        options: `start_s`, `end_s` (included), `fps` and `num_planes` choose; the last spreads over what `fps` left.
        limits: for `max_planes`.
        cine: a short loop, for which another default than one frame a second holds.

    Raises:
        ImagingError: the time range lies outside the video.
    """
    frames = _inside(times_s, options)
    notes: list[Note] = []
    fps = options.fps
    if fps is None and options.num_planes is None and not cine:
        fps = DEFAULT_VIDEO_FPS
    if fps is not None:
        frames = _at_ticks(times_s, frames, fps)
        notes.append(Note("sampled", f"{len(frames)} of {len(times_s)} frames, at {fps:g} a second"))
    default = DEFAULT_CINE_PLANES if fps is None else DEFAULT_VIDEO_PLANES
    wanted = min(options.num_planes or default, limits.max_planes)
    notes += _sampled(len(frames), wanted, options.num_planes, "frames")
    return [frames[i] for i in evenly(len(frames), wanted)], tuple(notes)


def _inside(times_s: Sequence[float], options: PrepareOptions) -> list[int]:
    start_s, end_s = options.start_s or 0.0, options.end_s
    last_s = times_s[-1]
    if start_s > last_s:
        raise ImagingError(f"start_s = {start_s:g} lies after the video, whose last frame is at {last_s:.2f} seconds.")
    if end_s is not None and end_s > last_s + 1.0:
        raise ImagingError(f"end_s = {end_s:g} lies after the video, whose last frame is at {last_s:.2f} seconds.")
    from_s, to_s = start_s - EPSILON, math.inf if end_s is None else end_s + EPSILON
    inside = [i for i, time_s in enumerate(times_s) if from_s <= time_s <= to_s]
    if inside:
        return inside
    # A range between two frames shows the frame that is on screen then.
    return [max(0, bisect_right(times_s, start_s) - 1)]


def _at_ticks(times_s: Sequence[float], inside: Sequence[int], fps: float) -> list[int]:
    """The frames that are on screen at some multiple of 1 / fps seconds after the first one."""
    start_s = times_s[inside[0]]
    shown_s = [times_s[i] - start_s for i in inside]
    last_until_s = 2 * shown_s[-1] - shown_s[-2] if len(inside) > 1 else math.inf
    until_s = [*shown_s[1:], last_until_s]
    spans = zip(inside, shown_s, until_s, strict=True)
    chosen = [i for i, from_s, to_s in spans if math.ceil(from_s * fps - EPSILON) < to_s * fps - EPSILON]
    # A film shorter than a tick can tell has no frame that lasts: it is a picture.
    return chosen or [inside[0]]


def _sampled(count: int, wanted: int, asked: int | None, what: str) -> tuple[Note, ...]:
    if wanted < count:
        return (Note("sampled", f"{wanted} of {count} {what}, evenly spread"),)
    if asked is not None and asked > count:
        return (Note("fewer_planes", f"{asked} {what} were asked for, there are {count}"),)
    return ()
