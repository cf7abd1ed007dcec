"""A picture of which patches the model saw: planes side by side, kept patches bright and outlined, dropped ones dim."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_CELL_PX = 216
_GAP_PX = 14
_CAPTION_PX = 22
_TITLE_PX = 74
_DIM = 0.28
_BACKGROUND = (18, 20, 24)
_TEXT = (226, 228, 232)
_QUIET = (150, 154, 162)
_OUTLINE = (255, 176, 0)


@dataclass(frozen=True, slots=True, eq=False)
class MarkedPlane:
    """A plane as the model got it.

    Attributes:
        pixels: uint8 [H, W, 3].
        kept: bool [rows, columns] of the token grid; the grid's cells cover the plane evenly.
        caption: a few words below the plane.
    """

    pixels: npt.NDArray[np.uint8]
    kept: npt.NDArray[np.bool_]
    caption: str


def contact_sheet(planes: Sequence[MarkedPlane], *, title: str, columns: int = 6) -> Image.Image:
    """Lay planes of one grid out row by row, under a title and a legend."""
    columns = min(columns, len(planes))
    cells = [_cell(plane) for plane in planes]
    cell_height = max(cell.height for cell in cells) + _CAPTION_PX
    width = max(columns * (_CELL_PX + _GAP_PX) + _GAP_PX, 3 * (_CELL_PX + _GAP_PX))
    height = _TITLE_PX + ceil(len(planes) / columns) * (cell_height + _GAP_PX)
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP_PX, 12), title, _TEXT, ImageFont.load_default(20))
    _draw_legend(draw, top=44)
    for index, (plane, cell) in enumerate(zip(planes, cells, strict=True)):
        row, column = divmod(index, columns)
        left = _GAP_PX + column * (_CELL_PX + _GAP_PX)
        top = _TITLE_PX + row * (cell_height + _GAP_PX)
        sheet.paste(cell, (left, top))
        draw.text((left, top + cell.height + 4), plane.caption, _QUIET, ImageFont.load_default(13))
    return sheet


def _cell(plane: MarkedPlane) -> Image.Image:
    """The plane at the width of a cell, dimmed where tokens were dropped, with lines around those kept."""
    rows, columns = plane.kept.shape
    height_px = round(_CELL_PX * plane.pixels.shape[0] / plane.pixels.shape[1])
    scaled = Image.fromarray(plane.pixels).resize((_CELL_PX, height_px), Image.Resampling.LANCZOS)
    row_of_px = np.arange(height_px) * rows // height_px
    column_of_px = np.arange(_CELL_PX) * columns // _CELL_PX
    kept_px = plane.kept[np.ix_(row_of_px, column_of_px)]
    shown = np.asarray(scaled) * np.where(kept_px, 1.0, _DIM)[..., np.newaxis]
    shown[_edges(kept_px)] = _OUTLINE
    return Image.fromarray(shown.astype(np.uint8))


def _edges(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels of the mask that touch its outside, the border of the picture included."""
    padded = np.pad(mask, 1)
    inner: npt.NDArray[np.bool_] = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _draw_legend(draw: ImageDraw.ImageDraw, *, top: int) -> None:
    font = ImageFont.load_default(14)
    draw.rectangle((_GAP_PX, top, _GAP_PX + 15, top + 15), (190, 190, 190), _OUTLINE)
    draw.text((_GAP_PX + 24, top), "kept: the language model reads it", _QUIET, font)
    draw.rectangle((_GAP_PX + 280, top, _GAP_PX + 295, top + 15), (53, 53, 53))
    draw.text((_GAP_PX + 304, top), "dropped: as in the plane before", _QUIET, font)
