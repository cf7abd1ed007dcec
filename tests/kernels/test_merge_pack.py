"""Merge and pack: near float64 with gradients, under any mask, every patch written once, 64-bit offsets."""

from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hulumed_kernels.dispatch import KernelChoice
from hulumed_kernels.merge_pack import kernel, merge_pack, reference
from tests.kernels.checks import (
    DEVICE,
    DTYPES,
    KERNEL,
    REFERENCE,
    assert_near,
    guarded,
    needs_gpu,
    needs_interpreter,
    random,
)
from tests.kernels.touched import accesses


def mask(planes: int, tokens: int, share: float) -> Tensor:
    return torch.rand(planes, tokens, generator=torch.Generator().manual_seed(5)) < share


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=15, deadline=None)
@given(
    planes=st.integers(1, 3),
    tokens=st.integers(1, 7),
    merge=st.integers(1, 4),
    hidden=st.integers(1, 150),
    share=st.sampled_from([None, 0.0, 0.5, 1.0]),
)
def test_kernel_is_near_float64_with_gradients(
    dtype: torch.dtype, planes: int, tokens: int, merge: int, hidden: int, share: float | None
) -> None:
    """None and all of the tokens kept are cases of their own, and so is none: its gradient is zero, not left over."""
    keep = None if share is None else mask(planes, tokens, share)
    x = random(planes, tokens * merge**2, hidden, dtype=dtype).requires_grad_()
    double = x.detach().double().requires_grad_()
    expected = reference.merge_pack(double, merge, keep)
    upstream = random(*expected.shape, dtype=dtype, seed=1)
    with guarded():
        result = merge_pack(x, merge, keep, choice=KERNEL)
        (gradient,) = torch.autograd.grad(result, x, upstream)
    (expected_gradient,) = torch.autograd.grad(expected, double, upstream.double())
    assert_near("tokens", result, expected, dtype)
    assert_near("dx", gradient, expected_gradient, dtype)


@pytest.mark.parametrize("choice", [KERNEL, REFERENCE])
def test_packs_what_the_mask_keeps(choice: KernelChoice) -> None:
    """Plane by plane, in the order of tokens; a mask on the device serves as one on the CPU."""
    x = random(3, 20, 7, dtype=torch.float32)
    keep = mask(3, 5, 0.5)
    everything = merge_pack(x, 2, choice=choice).view(3, 5, 7)
    for some in (keep, keep.to(DEVICE)):
        assert torch.equal(merge_pack(x, 2, some, choice=choice), everything[keep.to(DEVICE)])


def test_features_and_gradients_of_any_layout() -> None:
    wide = random(2, 8, 14, dtype=torch.float32).requires_grad_()
    result = merge_pack(wide[..., ::2], 2, choice=KERNEL)
    assert_near("tokens", result, reference.merge_pack(wide[..., ::2].double(), 2, None), torch.float32)
    (gradient,) = torch.autograd.grad(result.sum(), wide)
    assert torch.equal(gradient[..., ::2], torch.full_like(gradient[..., ::2], 0.25))
    assert not gradient[..., 1::2].any()


@pytest.mark.parametrize("share", [None, 0.5])
def test_reference_has_right_gradients(share: float | None) -> None:
    """What the kernel's gradients are compared with is compared with finite differences."""
    x = torch.randn(2, 8, 3, dtype=torch.float64, requires_grad=True)
    keep = None if share is None else mask(2, 2, share)
    assert torch.autograd.gradcheck(lambda x: reference.merge_pack(x, 2, keep), (x,))


@needs_interpreter
def test_offsets_have_64_bits() -> None:
    """2,000 planes of 16,384 patches have 38 billion values."""
    tokens, hidden = 2000 * 4096, 1152
    constants = kernel.constants(2, hidden, packed=False)
    small, large = torch.zeros(16), torch.zeros(16)
    token = list(range((tokens - 1) * hidden, tokens * hidden))
    *loads, stored = accesses(kernel.merge_pack_fwd_kernel, tokens - 1, (large, None, small), constants)
    assert stored.elements(small).tolist() == token
    patches = [load.elements(large).tolist() for load in loads]
    assert list(chain.from_iterable(patches)) == list(range((tokens - 1) * 4 * hidden, tokens * 4 * hidden))
    loaded, *stores = accesses(kernel.merge_pack_bwd_kernel, tokens - 1, (small, None, large), constants)
    assert loaded.elements(small).tolist() == token
    assert [store.elements(large).tolist() for store in stores] == patches


@pytest.mark.gpu
@needs_gpu
def test_large_input_on_a_gpu() -> None:
    """More than 2^31 values, forward and backward."""
    x = torch.zeros(2000, 1024, 1152, dtype=torch.bfloat16, device="cuda")
    x[-1, -4:] = torch.tensor([1, 2, 3, 4], dtype=torch.bfloat16, device="cuda")[:, None]
    x.requires_grad_()
    result = merge_pack(x, 2)
    assert (result[-1] == 2.5).all()
    assert not result[:-1].any()
    (gradient,) = torch.autograd.grad(result, x, torch.ones_like(result))
    assert (gradient == 0.25).all()


def test_what_does_not_fit_is_refused() -> None:
    x = torch.zeros(2, 8, 3)
    with pytest.raises(ValueError, match="do not divide into squares"):
        merge_pack(x, 3)
    for wrong in (torch.ones(2, 3, dtype=torch.bool), torch.ones(2, 2)):
        with pytest.raises(ValueError, match=r"give bool \(2, 2\)"):
            merge_pack(x, 2, wrong)
