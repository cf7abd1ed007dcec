"""Novelty: bit for bit what ingest measures, near float64 for other deviations, whole borders, 64-bit offsets."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hulumed_kernels.dispatch import KernelChoice
from hulumed_kernels.novelty import kernel, novelty
from hulumed_platform.imaging import patches as imaging
from tests.kernels.checks import (
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

both = pytest.mark.parametrize("choice", [KERNEL, REFERENCE])


@both
@settings(max_examples=15, deadline=None)
@given(
    planes=st.integers(1, 10),
    tokens=st.integers(1, 5),
    merge=st.integers(1, 3),
    words=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_equals_what_ingest_measures(
    choice: KernelChoice, planes: int, tokens: int, merge: int, words: int, seed: int
) -> None:
    """The keep rule compares with a threshold, so the last bit decides over tokens."""
    pixels = random_pixels(planes, tokens * merge**2, 12 * words, seed=seed)
    with guarded():
        result = novelty(pixels, merge, published(3)[1], choice=choice).cpu()
    assert torch.equal(result[0], torch.full((tokens,), torch.inf))
    frames = pixels.cpu().numpy()
    for plane in range(1, planes):
        measured = imaging.novelty(frames[plane], frames[plane - 1], merge)
        np.testing.assert_array_equal(result[plane].numpy(), measured)


@both
def test_extremes(choice: KernelChoice) -> None:
    """All four pixels of a word are told apart, whichever is the larger: 0 against 255 has no room for a carry."""
    pixels = torch.tensor([[0, 255, 0, 255], [255, 0, 255, 0], [255, 0, 0, 1], [0, 0, 1, 0]], dtype=torch.uint8)
    result = novelty(pixels[:, None].to(random_pixels(1).device), 1, (0.5,), choice=choice).flatten().tolist()
    expected = [np.float32(2 / 255 / 4 * total) for total in (4 * 255, 256, 257)]
    assert result[1:] == pytest.approx(expected, rel=1e-7)


@settings(max_examples=10, deadline=None)
@given(planes=st.integers(2, 6), channels=st.integers(1, 4), words=st.integers(1, 60), seed=st.integers(0, 99))
def test_channels_are_weighed_by_their_deviation(planes: int, channels: int, words: int, seed: int) -> None:
    pixels = random_pixels(planes, 12, channels * 4 * words, seed=seed)
    _, std = uneven(channels)
    weights = torch.tensor(std, dtype=torch.float64).repeat_interleave(4 * words)
    normalised = pixels.cpu().double() / 255 / weights
    expected = normalised.diff(dim=0).abs().view(planes - 1, 3, 4 * channels * 4 * words).mean(dim=2)
    for choice in (KERNEL, REFERENCE):
        with guarded():
            result = novelty(pixels, 2, std, choice=choice)
        assert_near("novelty", result[1:].cpu(), expected, torch.float32)


@needs_interpreter
def test_offsets_have_64_bits() -> None:
    """2,000 planes of 16,384 patches have 4.8 billion words."""
    planes, tokens = 2000, 4096
    constants = kernel.constants(2, (0.5, 0.5, 0.5), 588)
    words, out = torch.zeros(16, dtype=torch.int32), torch.zeros(16)
    program = planes // kernel.RUN * tokens - 1
    *loads, stored = accesses(kernel.novelty_fwd_kernel, program, (words, out, planes, tokens), constants)
    last = planes * tokens * constants["WORDS"] - 1
    assert max(int(load.elements(words).max()) for load in loads) == last
    first = (planes - kernel.RUN - 1) * tokens * constants["WORDS"]
    assert min(int(load.elements(words).min()) for load in loads) > first
    assert stored.elements(out).tolist() == [plane * tokens - 1 for plane in range(planes - kernel.RUN + 1, planes + 1)]


@needs_interpreter
@pytest.mark.parametrize("planes", [1, 3, 4, 9])
def test_nothing_is_read_beside_the_patches(planes: int) -> None:
    """Plane 0 has no plane before it to read, and the last run of planes may be short."""
    constants = kernel.constants(1, (0.5, 0.5, 0.5), 588)
    words, out = torch.zeros(16, dtype=torch.int32), torch.zeros(16)
    for program in range(-(-planes // kernel.RUN) * 2):
        *loads, _ = accesses(kernel.novelty_fwd_kernel, program, (words, out, planes, 2), constants)
        read = np.concatenate([load.elements(words) for load in loads])
        assert ((read >= 0) & (read < planes * 2 * constants["WORDS"])).all()


@pytest.mark.gpu
@needs_gpu
def test_large_input_on_a_gpu() -> None:
    """More than 2^31 words."""
    pixels = torch.empty(2000, 9216, 588, dtype=torch.uint8, device="cuda")
    pixels[:] = random_pixels(1, 1, 588)
    pixels[-1] += 1
    result = novelty(pixels, 2, (0.5, 0.5, 0.5))
    assert result[1:-1].count_nonzero() == 0
    assert (result[-1] > 0).all()


def test_what_does_not_fit_is_refused() -> None:
    pixels = torch.zeros(2, 6, 588, dtype=torch.uint8)
    with pytest.raises(ValueError, match="divide into tokens"):
        novelty(pixels, 2, (0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="multiple of four"):
        novelty(pixels[..., :27], 1, (0.5, 0.5, 0.5), choice=KERNEL)
