"""What every reader makes of its input: planes that are known but not yet decoded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from hulumed_platform.imaging.context import Stopwatch
from hulumed_platform.imaging.types import Kind, Note, PlaneSource

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""One plane as it is shown: [H, W] grey or [H, W, 3] RGB."""

MAX_ANISOTROPY = 100
"""No scanner has pixels that are longer than this: such a spacing is a mistake of the file."""


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """An item before its resize is planned.

    Attributes:
        height_px: height of the first plane as shown, with square pixels; the whole item takes its shape from it.
        width_px: its width.
        planes: where the planes come from, in their order.
        read: decodes the planes, in their order, one at a time; may be called again. Checks the time of this pass.
        applies: names of the `PrepareOptions` that mean something for this input.
    """

    kind: Kind
    height_px: float
    width_px: float
    planes: tuple[PlaneSource, ...]
    read: Callable[[Stopwatch], Iterator[Pixels]]
    applies: frozenset[str]
    description: str
    modality: str | None = None
    series_instance_uid: str | None = None
    notes: tuple[Note, ...] = ()


def square_pixels(
    height_px: int, width_px: int, row_spacing_mm: float, column_spacing_mm: float
) -> tuple[float, float, tuple[Note, ...]]:
    """Shape that a plane has once its pixels are square; the finer of the two spacings is kept.

    Args:
        row_spacing_mm: distance between the centres of neighbouring rows; only the ratio counts.
        column_spacing_mm: distance between the centres of neighbouring columns.

    Returns:
        Height and width in pixels, and a note when they differ from the stored ones by more than 1 %.
    """
    spacings = (row_spacing_mm, column_spacing_mm)
    if not all(np.isfinite(spacing) and spacing > 0 for spacing in spacings):
        return height_px, width_px, ()
    finer = min(spacings)
    ratio = max(spacings) / finer
    if ratio <= 1.01:
        return height_px, width_px, ()
    if ratio > MAX_ANISOTROPY:
        note = Note("spacing_ignored", f"one side of a pixel is {ratio:.3g} times the other: taken as square")
        return height_px, width_px, (note,)
    note = Note(
        "resampled_square",
        f"pixels of {row_spacing_mm:g} : {column_spacing_mm:g} (height : width) were resampled to square ones",
    )
    return height_px * row_spacing_mm / finer, width_px * column_spacing_mm / finer, (note,)
