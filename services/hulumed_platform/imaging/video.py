"""Videos through PyAV: MP4, MKV, WebM, AVI, and the bitstreams inside DICOM files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from hulumed_platform.imaging.context import Context, Stopwatch
from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.foreign import parsing
from hulumed_platform.imaging.sampling import sample_frames
from hulumed_platform.imaging.stack import Pixels, Stack, square_pixels
from hulumed_platform.imaging.types import Kind, Note, PlaneSource, PrepareOptions, SourceFile

OPTIONS = frozenset({"num_planes", "start_s", "end_s", "fps"})
SEEK_AHEAD_S = 2.0
"""Start decoding this much before the first wanted frame: time stamps of packets and frames may differ a little."""


@dataclass(frozen=True, slots=True)
class Film:
    """A video whose packets were listed but not decoded. `times_s` ascend from 0 at the first frame."""

    path: Path
    label: str
    codec: str
    height_px: int
    width_px: int
    pixel_width: float
    """Width of a pixel over its height (sample aspect ratio)."""
    times_s: tuple[float, ...]
    first_s: float
    timed: bool
    """False: the container states no time for each packet, frames are counted instead."""


def open_video(file: SourceFile, options: PrepareOptions, context: Context) -> Stack:
    """Open a video file and choose its frames.

    Raises:
        ImagingError: no video in it, broken, a time range outside it, or over a limit.
    """
    film = inspect(file.path, file.label, context)
    chosen, notes = sample_frames(film.times_s, options, context.limits)
    height_px, width_px, resampled = square_pixels(film.height_px, film.width_px, 1.0, film.pixel_width)
    sources = [PlaneSource(file.digest, None, None, i, time_s=film.times_s[i]) for i in chosen]
    return Stack(
        kind=Kind.VIDEO,
        height_px=height_px,
        width_px=width_px,
        planes=tuple(sources),
        read=lambda stopwatch: read_frames(film, chosen, context, stopwatch),
        applies=OPTIONS,
        description=f"{film.codec} video, {film.times_s[-1]:.1f} seconds, {len(film.times_s)} frames",
        notes=(*notes, *timing_notes(film), *resampled),
    )


def timing_notes(film: Film) -> tuple[Note, ...]:
    """What was assumed about when the frames are shown."""
    if film.timed:
        return ()
    return (Note("times_assumed", "the file has no time stamps: frames are taken to be evenly spaced"),)


def inspect(path: Path, label: str, context: Context, *, frame_time_s: float | None = None) -> Film:
    """List the frames of the first video stream without decoding them.

    Args:
        frame_time_s: seconds between frames, for bare bitstreams; overrides what the file says.
    """
    with parsing(label, "video"), av.open(str(path)) as container:
        if not container.streams.video:
            raise ImagingError(f"{label} has no video stream. Send a file with moving pictures.", kind="unsupported")
        stream = container.streams.video[0]
        height_px, width_px = stream.codec_context.height, stream.codec_context.width
        codec, rate = stream.codec_context.name, float(stream.average_rate or stream.guessed_rate or 25)
        stamps = []
        for packet in container.demux(stream):
            context.stopwatch.check()
            if packet.size and not packet.is_discard:
                stamps.append(packet.pts)
        base, pixel_width = float(stream.time_base or 0), float(stream.sample_aspect_ratio or 1)
    context.check_plane(height_px, width_px, label)
    if not stamps:
        raise ImagingError(f"{label} has no frames. Send it again, whole.")
    known = [stamp for stamp in stamps if stamp is not None]
    if frame_time_s is not None or len(set(known)) < len(stamps) or not base:
        step_s = frame_time_s or 1 / rate
        times_s = tuple(i * step_s for i in range(len(stamps)))
        return Film(path, label, codec, height_px, width_px, pixel_width, times_s, 0.0, timed=False)
    first_s = min(known) * base
    times_s = tuple(sorted(stamp * base - first_s for stamp in known))
    return Film(path, label, codec, height_px, width_px, pixel_width, times_s, first_s, timed=True)


def read_frames(film: Film, chosen: Sequence[int], context: Context, stopwatch: Stopwatch) -> Iterator[Pixels]:
    """Decode the chosen frames, ascending; the frames between are decoded and dropped."""
    frames = _decode(film, film.times_s[chosen[0]] if film.timed else 0.0)
    half_s = _shortest_gap_s(film.times_s) / 2
    wanted = iter(chosen)
    target = next(wanted, None)
    count = 0
    while target is not None:
        stopwatch.check()
        with parsing(film.label, "video"):
            frame = next(frames, None)
            if frame is None:
                return
            time_s = (frame.time or 0.0) - film.first_s
            arrived = time_s > film.times_s[target] - half_s if film.timed else count == target
            context.check_plane(frame.height, frame.width, film.label)
            pixels = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False) if arrived else None
        count += 1
        if pixels is not None:
            yield pixels
            target = next(wanted, None)


def _decode(film: Film, from_s: float) -> Iterator[av.VideoFrame]:
    with av.open(str(film.path)) as container:
        stream = container.streams.video[0]
        if from_s > SEEK_AHEAD_S:
            container.seek(int((film.first_s + from_s - SEEK_AHEAD_S) / float(stream.time_base or 1)), stream=stream)
        yield from container.decode(stream)


def _shortest_gap_s(times_s: Sequence[float]) -> float:
    if len(times_s) < 2:
        return 1.0
    return max(1e-6, float(np.diff(times_s).min()))
