"""Still pictures, TIFF stacks and animations, through Pillow: PNG, JPEG, TIFF, WebP, GIF."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, TiffImageFile

from hulumed_platform.imaging.context import Context, Stopwatch
from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.foreign import parsing
from hulumed_platform.imaging.sampling import evenly, sample_frames, sample_slices
from hulumed_platform.imaging.stack import Pixels, Stack
from hulumed_platform.imaging.types import (
    Kind,
    Media,
    Note,
    PlaneSource,
    PrepareOptions,
    Preprocessing,
    SourceFile,
)
from hulumed_platform.imaging.window import SAMPLED_PLANES, apply_window, robust_window

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF")
ORIENTATION_TAG = 0x0112
DEEP_MODES = ("I", "F")
"""Pillow modes of more than 8 bits a value ("I;16" and its like begin with I)."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What the header of a picture says."""

    file: SourceFile
    format: str
    height_px: int
    width_px: int
    pages: tuple[int, ...]
    """Pages or frames that are like the first one, which is all of them but for some TIFFs."""
    num_dropped: int
    deep: bool
    transparent: bool
    white_is_zero: bool
    """Deep grey values are to be inverted, which Pillow does for 8 bits only."""


def open_pictures(media: Media, context: Context) -> list[Stack]:
    """One item for each picture; together one volume or video where `media.kind` asks for that.

    An animation becomes a video; a TIFF of several pages a volume, its pages being slices.
    """
    pictures = [_inspect(file, media.options, context) for file in media.files]
    if len(pictures) > 1 and media.kind in (Kind.VOLUME, Kind.VIDEO):
        return [_folder(pictures, media.kind, media.options, context)]
    return [_open(picture, media, context) for picture in pictures]


def _inspect(file: SourceFile, options: PrepareOptions, context: Context) -> Picture:
    with parsing(file.label, "picture"), Image.open(file.path, formats=FORMATS) as image:
        width_px, height_px = image.size
        context.check_plane(height_px, width_px, file.label)
        tiff = isinstance(image, TiffImageFile)
        # Pillow turns TIFFs upright by itself and says their size as it is then.
        if not tiff and _upright(options) and image.getexif().get(ORIENTATION_TAG, 1) in (5, 6, 7, 8):
            width_px, height_px = height_px, width_px
        deep = image.mode.startswith(DEEP_MODES)
        # JPEGs of phones carry a second picture (MPO): not a stack.
        num_pages = getattr(image, "n_frames", 1) if image.format in ("TIFF", "GIF", "WEBP", "PNG") else 1
        transparent = image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
        white_is_zero = deep and isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
        pages = _pages_like_the_first(image, num_pages, context) if tiff else tuple(range(num_pages))
        return Picture(
            file=file,
            format=str(image.format),
            height_px=height_px,
            width_px=width_px,
            pages=pages,
            num_dropped=num_pages - len(pages),
            deep=deep,
            transparent=transparent,
            white_is_zero=white_is_zero,
        )


def _pages_like_the_first(image: Image.Image, num_pages: int, context: Context) -> tuple[int, ...]:
    """TIFFs keep thumbnails and reductions of a picture as further pages."""

    def shape(page: int) -> tuple[tuple[int, int], bool]:
        context.stopwatch.check()
        image.seek(page)
        return image.size, image.mode.startswith(DEEP_MODES)

    first = shape(0)
    return tuple(page for page in range(num_pages) if shape(page) == first)


def _upright(options: PrepareOptions) -> bool:
    """The published code takes pictures as they lie in the file."""
    return options.preprocessing is Preprocessing.HULUMED


def _open(picture: Picture, media: Media, context: Context) -> Stack:
    if len(picture.pages) == 1:
        return _still(picture, media.options, context)
    if picture.format == "TIFF":
        return _tiff_stack(picture, media.options, context)
    return _animation(picture, media.options, context)


def _still(picture: Picture, options: PrepareOptions, context: Context) -> Stack:
    source = PlaneSource(picture.file.digest, None, None, 0)
    return Stack(
        kind=Kind.IMAGE,
        height_px=picture.height_px,
        width_px=picture.width_px,
        planes=(source,),
        read=lambda stopwatch: _read([(picture, 0)], options, context, stopwatch),
        applies=_window_applies(picture, options),
        description=f"{picture.format} picture, {picture.width_px} x {picture.height_px} pixels",
        notes=_picture_notes(picture, options),
    )


def _tiff_stack(picture: Picture, options: PrepareOptions, context: Context) -> Stack:
    chosen, notes = sample_slices(len(picture.pages), options, context.limits)
    pages = [picture.pages[i] for i in chosen]
    assumed = Note("tiff_pages_are_slices", f"{len(picture.pages)} pages of the TIFF are taken as slices of a volume")
    return replace(
        _still(picture, options, context),
        kind=Kind.VOLUME,
        planes=tuple(PlaneSource(picture.file.digest, None, None, page) for page in pages),
        read=lambda stopwatch: _read([(picture, page) for page in pages], options, context, stopwatch),
        applies=_window_applies(picture, options) | {"num_planes"},
        description=f"TIFF stack, {len(picture.pages)} pages",
        notes=(assumed, *notes, *_picture_notes(picture, options)),
    )


def _animation(picture: Picture, options: PrepareOptions, context: Context) -> Stack:
    times_s = _frame_times(picture, context)
    frames, notes = sample_frames(times_s, options, context.limits)
    return replace(
        _still(picture, options, context),
        kind=Kind.VIDEO,
        planes=tuple(PlaneSource(picture.file.digest, None, None, i, time_s=times_s[i]) for i in frames),
        read=lambda stopwatch: _read([(picture, frame) for frame in frames], options, context, stopwatch),
        applies=frozenset({"num_planes", "start_s", "end_s", "fps"}),
        description=f"animated {picture.format}, {len(picture.pages)} frames",
        notes=(*notes, *_picture_notes(picture, options)),
    )


def _folder(pictures: Sequence[Picture], kind: Kind, options: PrepareOptions, context: Context) -> Stack:
    """Pictures in the order given, as one volume or as a video at the published one frame a second."""
    if any(len(picture.pages) > 1 for picture in pictures):
        raise ImagingError(f"Pictures that are to be one {kind} must hold one page each. Send stacks on their own.")
    first = pictures[0]
    video = kind is Kind.VIDEO
    if video:
        chosen, notes = sample_frames([float(i) for i in range(len(pictures))], options, context.limits)
    else:
        chosen, notes = sample_slices(len(pictures), options, context.limits)
    assumed = Note("order_as_given", f"the pictures are taken in the order given{', one a second' if video else ''}")
    if any((p.height_px, p.width_px) != (first.height_px, first.width_px) for p in pictures):
        notes = (*notes, Note("resampled_to_first", "pictures of other shapes were resampled to that of the first"))
    sources = [PlaneSource(pictures[i].file.digest, None, None, i, time_s=float(i) if video else None) for i in chosen]
    return replace(
        _still(first, options, context),
        kind=kind,
        planes=tuple(sources),
        read=lambda stopwatch: _read([(pictures[i], 0) for i in chosen], options, context, stopwatch),
        applies=frozenset({"num_planes", *(("start_s", "end_s", "fps") if video else ())})
        | _window_applies(first, options),
        description=f"{len(pictures)} pictures as one {kind}",
        notes=(assumed, *notes, *_picture_notes(first, options)),
    )


def _frame_times(picture: Picture, context: Context) -> list[float]:
    """When each frame starts; a frame without a duration lasts 0.1 s, as browsers show it."""
    times_s, now_s = [], 0.0
    with parsing(picture.file.label, "animation"), Image.open(picture.file.path, formats=FORMATS) as image:
        for frame in picture.pages:
            context.stopwatch.check()
            image.seek(frame)
            image.load()
            times_s.append(now_s)
            now_s += (float(image.info.get("duration", 0)) or 100.0) / 1000.0
    return times_s


def _read(
    pages: Sequence[tuple[Picture, int]], options: PrepareOptions, context: Context, stopwatch: Stopwatch
) -> Iterator[Pixels]:
    """Show pages; deep ones in one window for all, from percentiles of a sample where none is asked for."""
    upright, window = _upright(options), options.window
    if window is None and upright and pages[0][0].deep:
        sampled = [pages[i] for i in evenly(len(pages), SAMPLED_PLANES)]
        window = robust_window(np.asarray(image) for _, image in _images(sampled, context, stopwatch))
    for picture, image in _images(pages, context, stopwatch):
        with parsing(picture.file.label, "picture"):
            shown = ImageOps.exif_transpose(image) if upright else image
            if picture.deep and window is not None:
                pixels = apply_window(np.asarray(shown), window)
                pixels = 255 - pixels if picture.white_is_zero else pixels
            else:
                pixels = np.asarray(shown.convert("RGB"))
        yield pixels


def _images(
    pages: Sequence[tuple[Picture, int]], context: Context, stopwatch: Stopwatch
) -> Iterator[tuple[Picture, Image.Image]]:
    """Decode page by page; neighbours in the same file share one pass over it."""
    for picture, group in groupby(pages, key=lambda page: page[0]):
        with parsing(picture.file.label, "picture"):
            image = Image.open(picture.file.path, formats=FORMATS)
        with image:
            for _, page in group:
                stopwatch.check()
                with parsing(picture.file.label, "picture"):
                    image.seek(page)
                    context.check_plane(image.height, image.width, picture.file.label)
                    image.load()
                yield picture, image


def _window_applies(picture: Picture, options: PrepareOptions) -> frozenset[str]:
    return frozenset({"window"}) if picture.deep and _upright(options) else frozenset()


def _picture_notes(picture: Picture, options: PrepareOptions) -> tuple[Note, ...]:
    notes = []
    if picture.deep and _upright(options) and options.window is None:
        text = "values between the 0.5th and the 99.5th percentile of the item are shown black to white"
        notes.append(Note("window_percentiles", text))
    if picture.num_dropped:
        text = f"{picture.num_dropped} pages of another size or depth than the first one were dropped"
        notes.append(Note("pages_dropped", text))
    if picture.transparent:
        notes.append(Note("transparency_dropped", "the alpha channel was dropped, as the published code does"))
    return tuple(notes)
