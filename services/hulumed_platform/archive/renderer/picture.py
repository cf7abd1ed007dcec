"""A frame as a picture that a browser shows (PS3.18, section 8.3.5 and 10.4.1.1.5)."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hulumed_platform.archive.renderer.refused import RefusedError
from hulumed_platform.imaging.context import Context, ScratchSpace, Stopwatch
from hulumed_platform.imaging.dicom.geometry import Slice, flips
from hulumed_platform.imaging.dicom.grey import Grey, choose_grey, is_color
from hulumed_platform.imaging.dicom.header import read_header
from hulumed_platform.imaging.dicom.pixels import READABLE, read_slices
from hulumed_platform.imaging.stack import Pixels
from hulumed_platform.imaging.types import Limits, PrepareOptions, SourceFile, Window
from hulumed_platform.imaging.window import VoiFunction

_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF"}
_LABEL = "the instance"
_UNLIMITED_S = 3600.0
"""The parent counts the time of a job, and kills what takes longer."""


def write_picture(
    path: Path,
    out: Path,
    frame: int,
    media_type: str,
    *,
    window: Sequence[float] | None = None,
    voi_function: str = "LINEAR",
    viewport: Sequence[int | None] | None = None,
    quality: int = 90,
) -> dict[str, Any]:
    """Draw a frame.

    Args:
        frame: from 1.
        media_type: image/jpeg, image/png or image/gif.
        window: centre and width in units of the modality; None = the instance's own, else what suits its values.
        voi_function: of the window; LINEAR, LINEAR_EXACT or SIGMOID.
        viewport: width and height to fit into, then left, top, width and height of the region, each perhaps None;
            a negative width or height mirrors.
        quality: of a JPEG, 1 to 100.
    """
    one = _slice(path, frame, out.parent)
    grey = choose_grey([one], PrepareOptions())[0]
    if window is not None and not is_color(one.header):
        grey = Grey(Window(window[0], window[1]), VoiFunction(voi_function))
    image = Image.fromarray(_as_stored(one, next(read_slices([one], [0], grey, Stopwatch(_UNLIMITED_S)))))
    if viewport is not None:
        image = _fitted(image, viewport)
    image.save(out, _FORMATS[media_type], quality=quality)
    return {}


def _slice(path: Path, frame: int, scratch: Path) -> Slice:
    limits = Limits()
    context = Context(limits, scratch, ScratchSpace(limits.max_total_bytes), Stopwatch(_UNLIMITED_S))
    header = read_header(SourceFile(path, str(path), _LABEL), context)
    if header.rows < 1 or header.columns < 1:
        raise RefusedError("the instance has no pixels to show")
    if header.transfer_syntax_uid not in READABLE:
        raise RefusedError("there is no decoder for the transfer syntax of the instance")
    if frame > header.num_frames:
        raise RefusedError(f"the instance has {header.num_frames} frames", "not_found")
    context.check_plane(header.rows, header.columns, _LABEL)
    return Slice(header, frame - 1)


def _as_stored(one: Slice, pixels: Pixels) -> Pixels:
    """The model sees slices turned to the usual display; a viewer sees them as the scanner wrote them."""
    row_step, column_step = flips(one.info.orientation)
    return np.ascontiguousarray(pixels[::row_step, ::column_step])


def _fitted(image: Image.Image, viewport: Sequence[int | None]) -> Image.Image:
    """Take the region and scale it to the largest size that fits, with its proportions (section 8.3.5.1.3)."""
    width, height, left, top, region_width, region_height = (*viewport, *[None] * 6)[:6]
    left, top = left or 0, top or 0
    across = region_width or image.width - left
    down = region_height or image.height - top
    region = image.crop((left, top, left + abs(across), top + abs(down)))
    if across < 0:
        region = region.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if down < 0:
        region = region.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    assert width is not None
    assert height is not None
    scale = min(width / region.width, height / region.height)
    size = max(1, math.floor(region.width * scale)), max(1, math.floor(region.height * scale))
    return region.resize(size, Image.Resampling.BILINEAR if scale > 1 else Image.Resampling.LANCZOS)
