import numpy as np
import numpy.typing as npt
import pytest

from hulumed_platform.cli.picture import MarkedPlane, contact_sheet

_OUTLINE = (255, 176, 0)


def _sheet(kept: list[list[int]], grey: int = 200) -> npt.NDArray[np.uint8]:
    plane = MarkedPlane(np.full((56, 84, 3), grey, np.uint8), np.array(kept, dtype=np.bool_), "plane 1")
    return np.asarray(contact_sheet([plane], title="A study"))


def _greys(sheet: npt.NDArray[np.uint8], value: int) -> int:
    return int((sheet == value).all(axis=2).sum())


def test_kept_patches_are_bright_and_dropped_ones_dim() -> None:
    """Someone who looks at the sheet sees at once what the model did not read."""
    sheet = _sheet([[1, 0, 0], [0, 0, 0]])
    dim = int(200 * 0.28)
    assert _greys(sheet, dim) == pytest.approx(5 * _greys(sheet, 200), rel=0.1)
    assert (sheet == _OUTLINE).all(axis=2).any()


def test_a_plane_kept_whole_has_one_frame() -> None:
    """Lines go around regions, not around every patch."""
    whole, patch = _sheet([[1, 1, 1], [1, 1, 1]]), _sheet([[1, 0, 0], [0, 0, 0]])
    assert _greys(whole, int(200 * 0.28)) == 0
    rows = np.flatnonzero((whole == _OUTLINE).all(axis=2)[74:].any(axis=1))
    inside = (whole == _OUTLINE).all(axis=2)[74 + rows[0] + 1 : 74 + rows[-1]]
    assert inside.sum(axis=1).max() == 2
    assert whole.shape == patch.shape


def test_many_planes_are_laid_out_in_rows() -> None:
    """Thirteen planes take three rows of six, none beyond the edge."""
    plane = MarkedPlane(np.zeros((28, 28, 3), np.uint8), np.ones((1, 1), np.bool_), "plane")
    one, many = contact_sheet([plane] * 6, title=""), contact_sheet([plane] * 13, title="")
    assert many.width == one.width
    assert many.height - 74 == 3 * (one.height - 74)
