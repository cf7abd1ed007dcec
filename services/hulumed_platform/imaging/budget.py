"""The published resize planner: from plane shapes to patch grids that share one token budget.

Source: Hulu-Med's image processor. Sides are (height, width); the published code swaps them for PIL input, which
`imaging.upstream` can reproduce by handing them over swapped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hulumed_platform.imaging.types import TokenBudget


@dataclass(frozen=True, slots=True)
class Shape:
    """What the planner knows of an item: its number of planes, and the shape of the first one in pixels."""

    num_planes: int
    height_px: float
    width_px: float
    merge: int


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid of every plane of an item, in patches; both sides are positive multiples of the item's merge."""

    height: int
    width: int


def plan(shapes: Sequence[Shape], budget: TokenBudget) -> list[Grid]:
    """Choose the grid of each item.

    The total stays within `budget.max_tokens` except where `min_tokens` for each plane forces it over.
    """
    if len({shape.merge for shape in shapes}) > 1:
        return _plan_mixed(shapes, budget)
    num_planes = sum(shape.num_planes for shape in shapes)
    return [_plan_uniform(shape, num_planes, budget) for shape in shapes]


def num_tokens(shapes: Sequence[Shape], grids: Sequence[Grid]) -> int:
    """Visual tokens of all planes, before compression."""
    pairs = zip(shapes, grids, strict=True)
    return sum(shape.num_planes * grid.height * grid.width // shape.merge**2 for shape, grid in pairs)


def _plan_uniform(shape: Shape, num_planes: int, budget: TokenBudget) -> Grid:
    factor = shape.merge * budget.patch_size
    pixels = shape.height_px * shape.width_px
    rows, columns = round(shape.height_px / factor), round(shape.width_px / factor)
    cap_px = max(1, math.floor(budget.max_tokens * factor**2 / num_planes))
    if rows * columns * factor**2 > cap_px:
        scale = factor * math.sqrt(pixels / cap_px)
        rows, columns = math.floor(shape.height_px / scale), math.floor(shape.width_px / scale)
    return _with_floor(shape, rows, columns, budget)


def _plan_mixed(shapes: Sequence[Shape], budget: TokenBudget) -> list[Grid]:
    def total() -> int:
        factors = [shape.merge * budget.patch_size for shape in shapes]
        return sum(
            shape.num_planes * math.ceil(shape.height_px / factor) * math.ceil(shape.width_px / factor)
            for shape, factor in zip(shapes, factors, strict=True)
        )

    shrink = math.sqrt(max(1.0, total() / budget.max_tokens))
    to_whole = round if shrink == 1.0 else math.floor
    grids = []
    for shape in shapes:
        scale = shape.merge * budget.patch_size * shrink
        rows, columns = to_whole(shape.height_px / scale), to_whole(shape.width_px / scale)
        grids.append(_with_floor(shape, rows, columns, budget))
    return grids


def _with_floor(shape: Shape, rows: int, columns: int, budget: TokenBudget) -> Grid:
    """Tokens to patches; the published mixed rule has no floor and can end with a side of 0, so both rules get it."""
    if rows * columns < budget.min_tokens:
        grow = math.sqrt(budget.min_tokens / (shape.height_px * shape.width_px))
        rows, columns = math.ceil(shape.height_px * grow), math.ceil(shape.width_px * grow)
    return Grid(rows * shape.merge, columns * shape.merge)
