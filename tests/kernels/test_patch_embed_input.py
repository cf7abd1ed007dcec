"""Patches to pixels: near float64 at any shape, whole borders, and 64-bit offsets."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hulumed_kernels.patch_embed_input import kernel, patch_embed_input
from tests.kernels.checks import (
    DEVICE,
    DTYPES,
    KERNEL,
    REFERENCE,
    assert_near,
    guarded,
    needs_gpu,
    needs_interpreter,
    published,
    random_pixels,
    uneven,
)
from tests.kernels.touched import accesses


def exact(patches: Tensor, mean: object, std: object) -> Tensor:
    area = patches.shape[-1] // len(torch.tensor(mean))
    mean_F, std_F = (torch.tensor(values, dtype=torch.float64).repeat_interleave(area) for values in (mean, std))
    return ((patches.cpu().double() / 255 - mean_F) / std_F).to(DEVICE)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=15, deadline=None)
@given(
    planes=st.integers(0, 3),
    patches=st.integers(1, 9),
    channels=st.integers(1, 4),
    area=st.integers(1, 230),
    seed=st.integers(0, 99),
)
def test_kernel_is_near_float64(
    dtype: torch.dtype, planes: int, patches: int, channels: int, area: int, seed: int
) -> None:
    pixels = random_pixels(planes, patches, channels * area, seed=seed)
    mean, std = uneven(channels)
    with guarded():
        result = patch_embed_input(pixels, mean, std, dtype, choice=KERNEL)
    assert_near("pixels", result, exact(pixels, mean, std), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("choice", [KERNEL, REFERENCE])
def test_every_pixel_value(dtype: torch.dtype, choice: object) -> None:
    """Not only on average: no value of the 256 is further off than the next value of the type, or 3e-7."""
    pixels = torch.arange(256, dtype=torch.uint8, device=DEVICE).repeat(3)[None, None]
    mean, std = published(3)
    result = patch_embed_input(pixels, mean, std, dtype, choice=choice).double()  # type: ignore[arg-type]
    expected = exact(pixels, mean, std)
    assert ((result - expected).abs() <= torch.finfo(dtype).eps * expected.abs() + 3e-7).all()


def test_a_view_is_read_as_it_looks() -> None:
    pixels = random_pixels(4, 6, 588)[::2, 1:4]
    mean, std = uneven(3)
    result = patch_embed_input(pixels, mean, std, torch.float32, choice=KERNEL)
    assert_near("pixels", result, exact(pixels, mean, std), torch.float32)


@needs_interpreter
def test_offsets_have_64_bits() -> None:
    """2,000 planes of 16,384 patches have 19 billion values: a 32-bit offset would write into other planes."""
    num_values = 2000 * 16384 * 588 - 5
    pixels, out = torch.zeros(16, dtype=torch.uint8), torch.zeros(16)
    program = num_values // kernel.BLOCK
    loaded, stored = accesses(
        kernel.patch_embed_input_fwd_kernel, program, (pixels, out, num_values), kernel.constants(*published(3), 196)
    )
    for elements in (loaded.elements(pixels), stored.elements(out)):
        assert elements.tolist() == list(range(program * kernel.BLOCK, num_values))


@pytest.mark.gpu
@needs_gpu
def test_large_input_on_a_gpu() -> None:
    """More than 2^31 values."""
    pixels = random_pixels(1, 2000, 588).expand(2000, -1, -1)
    mean, std = published(3)
    result = patch_embed_input(pixels, mean, std, torch.bfloat16)
    assert torch.equal(result[-1], patch_embed_input(pixels[0], mean, std, torch.bfloat16))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="give uint8 patches"):
        patch_embed_input(torch.zeros(1, 588), *published(3), torch.float32)
    with pytest.raises(ValueError, match="3 means"):
        patch_embed_input(torch.zeros(1, 587, dtype=torch.uint8), *published(3), torch.float32)
