"""Patches and novelty against the published code and their definition."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from hulumed_platform.imaging.patches import novelty, patchify, unpatchify

GOLDENS = Path(__file__).parents[1] / "data" / "goldens"


@pytest.mark.parametrize("decoder", ["q2", "q3"])
@pytest.mark.parametrize(("case", "merge"), [("image", 1), ("volume", 2), ("video", 2)])
def test_patches_equal_those_of_the_published_processor(decoder: str, case: str, merge: int) -> None:
    """The order of patches, channels and pixels is the one that checkpoints were trained with."""
    golden = load_file(GOLDENS / decoder / "golden.safetensors")
    patches = patchify(golden[f"{case}.frames_u8"], merge=merge)
    normalised = (patches.reshape(-1, 588) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    np.testing.assert_allclose(normalised, golden[f"{case}.pixel_values"], atol=1e-6)


@given(t=st.integers(1, 3), rows=st.integers(1, 4), columns=st.integers(1, 4), merge=st.sampled_from([1, 2]))
def test_unpatchify_undoes_patchify(t: int, rows: int, columns: int, merge: int) -> None:
    """No pixel is lost or moved, whatever the grid."""
    height, width = rows * merge, columns * merge
    planes = np.random.default_rng(0).integers(0, 256, (t, height * 14, width * 14, 3)).astype(np.uint8)
    patches = patchify(planes, merge=merge)
    assert patches.shape == (t, height * width, 588)
    np.testing.assert_array_equal(unpatchify(patches, height=height, width=width, merge=merge), planes)


def test_sides_that_do_not_divide_are_refused() -> None:
    """A plane of the wrong size would otherwise be cut silently."""
    with pytest.raises(ValueError, match="do not divide"):
        patchify(np.zeros((1, 28, 30, 3), np.uint8), merge=1)


@pytest.mark.parametrize("merge", [1, 2])
def test_novelty_is_the_mean_difference_of_normalised_tokens(merge: int) -> None:
    """Computed from integers, it equals the paper's formula on normalised floats; uint8 must not wrap around."""
    current, previous = np.random.default_rng(1).integers(0, 256, (2, 1, 56, 84, 3)).astype(np.uint8)
    a, b = (patchify(plane, merge=merge)[0] for plane in (current, previous))
    x, y = ((patches.reshape(-1, 588 * merge**2) / 255 - 0.5) / 0.5 for patches in (a, b))
    np.testing.assert_allclose(novelty(a, b, merge), np.abs(x - y).mean(axis=1), rtol=1e-6)
    assert novelty(a, b, merge).dtype == np.float32
