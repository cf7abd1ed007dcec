"""The token planner: exact counts, the budget, and the defects it leaves out."""

import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from hulumed_platform.imaging.budget import Grid, Shape, num_tokens, plan
from hulumed_platform.imaging.types import TokenBudget

BUDGET = TokenBudget()
GOLDENS = Path(__file__).parents[1] / "data" / "goldens"
sides = st.floats(1, 5000)


def shapes(merges: st.SearchStrategy[int]) -> st.SearchStrategy[list[Shape]]:
    """Requests of one to five items."""
    shape = st.builds(Shape, num_planes=st.integers(1, 400), height_px=sides, width_px=sides, merge=merges)
    return st.lists(shape, min_size=1, max_size=5)


def hits_floor(shape: Shape, grid: Grid) -> bool:
    """Whether an item has the size that the floor gives it: both sides rounded up, so a little more than the floor."""
    grow = math.sqrt(BUDGET.min_tokens / (shape.height_px * shape.width_px))
    floor = math.ceil(shape.height_px * grow), math.ceil(shape.width_px * grow)
    return (grid.height // shape.merge, grid.width // shape.merge) == floor


@example([Shape(283, 10, 16, 2), Shape(400, 10, 16, 2)])
@given(shapes(st.just(2)) | shapes(st.just(1)) | shapes(st.sampled_from([1, 2])))
def test_grids_are_whole_tokens_and_within_the_budget(items: list[Shape]) -> None:
    """Sides are positive multiples of merge, each plane has min_tokens, and only that floor can break the budget."""
    grids = plan(items, BUDGET)
    for shape, grid in zip(items, grids, strict=True):
        assert grid.height > 0
        assert grid.width > 0
        assert grid.height % shape.merge == grid.width % shape.merge == 0
        assert grid.height * grid.width // shape.merge**2 >= BUDGET.min_tokens
    if num_tokens(items, grids) > BUDGET.max_tokens:
        assert any(hits_floor(shape, grid) for shape, grid in zip(items, grids, strict=True))


def test_published_examples() -> None:
    """The arithmetic of the published processor, computed by hand."""
    assert plan([Shape(160, 512, 512, 2)], BUDGET) == [Grid(20, 20)]
    assert plan([Shape(180, 512, 512, 2)], BUDGET) == [Grid(18, 18)]
    assert plan([Shape(3000, 480, 640, 2)], BUDGET) == [Grid(8, 10)]
    assert plan([Shape(1, 5000, 5000, 1)], BUDGET) == [Grid(128, 128)]


@pytest.mark.parametrize("case", ["image", "volume", "video"])
def test_grids_of_the_goldens(case: str) -> None:
    """Planes that the published processor let through at their own size."""
    golden = load_file(GOLDENS / "q2" / "golden.safetensors")
    frames, (t, h, w) = golden[f"{case}.frames_u8"], golden[f"{case}.grid_sizes"][0]
    merge = int(golden[f"{case}.merge_sizes"][0])
    assert plan([Shape(int(t), frames.shape[1], frames.shape[2], merge)], BUDGET) == [Grid(int(h), int(w))]


def test_height_and_width_are_not_swapped() -> None:
    """The published planner resized wide pictures to tall ones."""
    (grid,) = plan([Shape(1, 140, 280, 1)], BUDGET)
    assert (grid.height, grid.width) == (10, 20)


def test_mixed_merges_never_plan_a_side_of_zero() -> None:
    """The published rule for mixed requests has no floor: a tiny item beside a long series vanished."""
    grids = plan([Shape(1, 10, 10, 1), Shape(4000, 512, 512, 2)], BUDGET)
    assert min(grids[0].height, grids[0].width, grids[1].height, grids[1].width) > 0
