"""Videos through PyAV: MP4, MKV, WebM, AVI, and the bitstreams inside DICOM files."""

from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from hulumed_platform.imaging.context import Context, Stopwatch
from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.foreign import parsing
from hulumed_platform.imaging.sampling import sample_frames
from hulumed_platform.imaging.stack import Pixels, Stack, square_pixels
from hulumed_platform.imaging.types import Kind, Note, PlaneSource, PrepareOptions, Preprocessing, SourceFile

OPTIONS = frozenset({"num_planes", "start_s", "end_s", "fps"})
SEEK_AHEAD_S = 2.0
"""Start decoding this much before a wanted frame: time stamps of packets and frames may differ a little."""
SEEK_WORTH_S = 2.0
"""Frames between two wanted ones are decoded and dropped unless a seek skips more than this."""
MEND = "Choose another time range, or send it again, whole"


@dataclass(frozen=True, slots=True)
class Film:
    """A video whose packets were listed, and whose first frame alone was decoded.

    Attributes:
        height_px: of a frame as it is stored.
        pixel_width: width of a stored pixel over its height (sample aspect ratio).
        quarter_turns: counter-clockwise, from stored to shown (display matrix: a phone that was held upright).
        times_s: when each frame is shown, ascending from 0 at the first one.
        keyframes_s: which of them can be decoded without those before.
        first_s: time of the first frame as the container counts.
        timed: False where the container states no time for each packet, and frames are counted instead.
    """

    path: Path
    label: str
    codec: str
    height_px: int
    width_px: int
    pixel_width: float
    quarter_turns: int
    times_s: tuple[float, ...]
    keyframes_s: tuple[float, ...]
    first_s: float
    timed: bool
    notes: tuple[Note, ...]

    def shown_shape(self, preprocessing: Preprocessing) -> tuple[float, float, tuple[Note, ...]]:
        """Height and width with square pixels and upright, and what to tell about it."""
        pixel_width = 1.0 if preprocessing is Preprocessing.UPSTREAM else self.pixel_width
        if self.quarter_turns % 2:
            return square_pixels(self.width_px, self.height_px, pixel_width, 1.0)
        return square_pixels(self.height_px, self.width_px, 1.0, pixel_width)


@dataclass(frozen=True, slots=True)
class _Listing:
    """What the packets of a video stream say; the times are those of the container, None where there is none."""

    stamps_s: tuple[float | None, ...]
    keyframes_s: tuple[float, ...]
    announced_s: float
    announced_frames: int
    num_packets: int


def open_video(file: SourceFile, options: PrepareOptions, context: Context) -> Stack:
    """Open a video file and choose its frames.

    Raises:
        ImagingError: no video in it, broken, a time range outside it, or over a limit.
    """
    film = inspect(file.path, file.label, context)
    chosen, notes = sample_frames(film.times_s, options, context.limits)
    height_px, width_px, resampled = film.shown_shape(options.preprocessing)
    sources = [PlaneSource(file.digest, None, None, i, time_s=film.times_s[i]) for i in chosen]
    return Stack(
        kind=Kind.VIDEO,
        height_px=height_px,
        width_px=width_px,
        planes=tuple(sources),
        read=lambda stopwatch: read_frames(film, chosen, context, stopwatch),
        applies=OPTIONS,
        description=f"{film.codec} video, {film.times_s[-1]:.1f} seconds, {len(film.times_s)} frames",
        notes=(*notes, *film.notes, *resampled),
    )


def inspect(path: Path, label: str, context: Context, *, frame_time_s: float | None = None) -> Film:
    """List the frames of the first video stream; only the first one is decoded.

    Args:
        frame_time_s: seconds between frames, for bare bitstreams; overrides what the file says.
    """
    with parsing(label, "video"), av.open(str(path)) as container:
        if not container.streams.video:
            raise ImagingError(f"{label} has no video stream. Send a file with moving pictures.", kind="unsupported")
        stream = container.streams.video[0]
        height_px, width_px = stream.codec_context.height, stream.codec_context.width
        context.check_plane(height_px, width_px, label)
        codec, rate = stream.codec_context.name, float(stream.average_rate or stream.guessed_rate or 25)
        pixel_width = float(stream.sample_aspect_ratio or 1)
        listing = _list_packets(container, stream, context)
    if not listing.stamps_s:
        raise ImagingError(f"{label} has no frames. Send it again, whole.")
    known_s = [stamp_s for stamp_s in listing.stamps_s if stamp_s is not None]
    timed = frame_time_s is None and len(set(known_s)) == len(listing.stamps_s)
    first_s = min(known_s) if timed else 0.0
    if timed:
        times_s = tuple(sorted(stamp_s - first_s for stamp_s in known_s))
    else:
        times_s = tuple(i * (frame_time_s or 1 / rate) for i in range(len(listing.stamps_s)))
    return Film(
        path=path,
        label=label,
        codec=codec,
        height_px=height_px,
        width_px=width_px,
        pixel_width=pixel_width,
        quarter_turns=_quarter_turns(path, label),
        times_s=times_s,
        keyframes_s=tuple(sorted(stamp_s - first_s for stamp_s in listing.keyframes_s)) if timed else (),
        first_s=first_s,
        timed=timed,
        notes=() if frame_time_s is not None else _notes(listing, times_s, first_s, timed=timed),
    )


def _list_packets(container: av.container.InputContainer, stream: av.VideoStream, context: Context) -> _Listing:
    base_s = float(stream.time_base or 0)
    stamps_s: list[float | None] = []
    keyframes_s, num_packets = [], 0
    for packet in container.demux(stream):
        context.stopwatch.check()
        num_packets += packet.size > 0
        if packet.size and not packet.is_discard:
            stamp_s = packet.pts * base_s if packet.pts is not None and base_s else None
            stamps_s.append(stamp_s)
            if packet.is_keyframe and stamp_s is not None:
                keyframes_s.append(stamp_s)
    announced_s = float(container.duration or 0) / av.time_base
    return _Listing(tuple(stamps_s), tuple(keyframes_s), announced_s, stream.frames, num_packets)


def _notes(listing: _Listing, times_s: Sequence[float], first_s: float, *, timed: bool) -> tuple[Note, ...]:
    notes = []
    if not timed:
        text = "the file has no time stamp of its own for every frame: frames are taken to be evenly spaced"
        notes.append(Note("times_assumed", text))
    end_s = times_s[-1] + (times_s[-1] - times_s[-2] if len(times_s) > 1 else 0.0)
    if listing.announced_frames > listing.num_packets:
        text = f"the file announces {listing.announced_frames} frames, {listing.num_packets} are there"
        notes.append(Note("frames_missing", text))
    elif listing.announced_s > first_s + end_s + 1.0:
        text = f"the file announces {listing.announced_s:.1f} seconds, its frames end at {end_s:.1f}"
        notes.append(Note("frames_missing", text))
    return tuple(notes)


def _quarter_turns(path: Path, label: str) -> int:
    """The display matrix comes with the frames; one that is no multiple of 90 degrees is rounded to it."""
    with parsing(label, "video"), av.open(str(path)) as container:
        frame = next(container.decode(container.streams.video[0]), None)
    if frame is None:
        raise ImagingError(f"{label} has no frame that can be decoded. Send it again, whole.")
    return round(frame.rotation / 90) % 4


def read_frames(film: Film, chosen: Sequence[int], context: Context, stopwatch: Stopwatch) -> Iterator[Pixels]:
    """Decode the chosen frames, ascending; those between are skipped from key frame to key frame, or decoded."""
    frames = _decode(film, 0.0)
    half_s = _shortest_gap_s(film.times_s) / 2
    now_s, count = 0.0, 0
    for target in chosen:
        target_s = film.times_s[target]
        if _keyframe_before_s(film, target_s - SEEK_AHEAD_S) > now_s + SEEK_WORTH_S:
            frames.close()
            frames = _decode(film, target_s)
        pixels = None
        while pixels is None:
            stopwatch.check()
            with parsing(film.label, f"video after {now_s:.1f} seconds", MEND):
                frame = next(frames, None)
                if frame is None:
                    return
                now_s = (frame.time or 0.0) - film.first_s
                if now_s > target_s - half_s if film.timed else count == target:
                    pixels = _pixels(film, frame, target_s, context)
            count += 1
        yield pixels


def _pixels(film: Film, frame: av.VideoFrame, time_s: float, context: Context) -> Pixels:
    if frame.is_corrupt:
        raise ImagingError(f"{film.label}: the frame at {time_s:.1f} seconds is damaged. {MEND}.")
    context.check_plane(frame.height, frame.width, film.label)
    stored: Pixels = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    return np.ascontiguousarray(np.rot90(stored, film.quarter_turns))


def _decode(film: Film, from_s: float) -> Generator[av.VideoFrame]:
    with av.open(str(film.path)) as container:
        stream = container.streams.video[0]
        if from_s > SEEK_AHEAD_S:
            container.seek(int((film.first_s + from_s - SEEK_AHEAD_S) / float(stream.time_base or 1)), stream=stream)
        yield from container.decode(stream)


def _keyframe_before_s(film: Film, time_s: float) -> float:
    index = bisect_right(film.keyframes_s, time_s)
    return film.keyframes_s[index - 1] if index else 0.0


def _shortest_gap_s(times_s: Sequence[float]) -> float:
    if len(times_s) < 2:
        return 1.0
    return max(1e-6, float(np.diff(times_s).min()))
