"""MPEG-2, MPEG-4 and HEVC inside DICOM (PS3.5 section 8.2.5 to 8.2.8): one video stream, cut into fragments."""

import tempfile
from pathlib import Path

from hulumed_platform.imaging.context import Context
from hulumed_platform.imaging.dicom.classify import MODALITIES
from hulumed_platform.imaging.dicom.encapsulated import fragments
from hulumed_platform.imaging.dicom.header import Header
from hulumed_platform.imaging.foreign import parsing
from hulumed_platform.imaging.sampling import sample_frames
from hulumed_platform.imaging.stack import Stack
from hulumed_platform.imaging.types import Kind, PlaneSource, PrepareOptions
from hulumed_platform.imaging.video import OPTIONS, inspect, read_frames

BITSTREAMS = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))
"""Transfer syntaxes MPEG2 MPML (100) to HEVC Main 10 (108); their fragmentable variants add `.1`."""


def is_bitstream(header: Header) -> bool:
    """Whether the instance is encapsulated video."""
    return header.transfer_syntax_uid.removesuffix(".1") in BITSTREAMS


def open_bitstream(header: Header, options: PrepareOptions, context: Context) -> Stack:
    """Write the stream to scratch and choose its frames.

    Raises:
        ImagingError: the stream is broken or over a limit.
    """
    label = header.file.label
    with parsing(label, "DICOM video"):
        path = _extract(header, context)
    times_s = header.frame_times_s
    step_s = times_s[1] if times_s is not None and len(times_s) > 1 else None
    film = inspect(path, label, context, frame_time_s=step_s)
    chosen, notes = sample_frames(film.times_s, options, context.limits)
    height_px, width_px, resampled = film.shown_shape(options.preprocessing)
    uid = header.sop_instance_uid or None
    name = header.modality if header.modality in MODALITIES else None
    return Stack(
        kind=Kind.VIDEO,
        height_px=height_px,
        width_px=width_px,
        planes=tuple(PlaneSource(header.file.digest, uid, i + 1, i, time_s=film.times_s[i]) for i in chosen),
        read=lambda stopwatch: read_frames(film, chosen, context, stopwatch),
        applies=OPTIONS,
        description=f"{name or 'DICOM'} {film.codec} video, {len(film.times_s)} frames",
        modality=name,
        series_instance_uid=header.series_instance_uid or None,
        notes=(*notes, *film.notes, *resampled),
    )


def _extract(header: Header, context: Context) -> Path:
    with tempfile.NamedTemporaryFile(dir=context.scratch, suffix=".video", delete=False) as stream:
        for fragment in fragments(header.file.path):
            context.stopwatch.check()
            context.scratch_space.take(len(fragment), header.file.label)
            stream.write(fragment)
    return Path(stream.name)
