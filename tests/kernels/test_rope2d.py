"""Rotary positions: near float64 with gradients, in place only where no gradient is asked for, 64-bit offsets."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hulumed_kernels.rope2d import kernel, prepare, reference, rope2d
from tests.kernels.checks import (
    CANARY,
    DEVICE,
    DTYPES,
    KERNEL,
    assert_near,
    guarded,
    needs_gpu,
    needs_interpreter,
    random,
)
from tests.kernels.touched import accesses


def rotation(patches: int, head_dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Positions as of a side of up to 130 patches, and the published frequencies."""
    generator = torch.Generator().manual_seed(seed)
    positions_N2 = torch.randint(0, 130, (patches, 2), generator=generator)
    quarter = head_dim // 4
    return positions_N2.to(DEVICE), (10000.0 ** -(torch.arange(quarter) / quarter)).to(DEVICE)


def exact(x_PHNC: Tensor, positions_N2: Tensor, frequencies_F: Tensor) -> Tensor:
    return reference.rotate(x_PHNC.double(), *reference.prepare(positions_N2, frequencies_F.double()))


def by_head(x_PND: Tensor, heads: int) -> Tensor:
    return x_PND.view(*x_PND.shape[:2], heads, -1).transpose(1, 2)


def queries_and_keys(planes: int, heads: int, patches: int, head_dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Laid out as the encoder has them: a view of what one matrix product wrote."""
    q, k = (random(planes, patches, heads * head_dim, dtype=dtype, seed=seed) for seed in (1, 2))
    return by_head(q, heads), by_head(k, heads)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=12, deadline=None)
@given(
    planes=st.integers(1, 3),
    heads=st.integers(1, 5),
    patches=st.integers(1, 13),
    quarter=st.sampled_from([1, 3, 12, 18, 32]),
)
def test_kernel_is_near_float64_with_gradients(
    dtype: torch.dtype, planes: int, heads: int, patches: int, quarter: int
) -> None:
    inputs = [x.detach().requires_grad_() for x in queries_and_keys(planes, heads, patches, 4 * quarter, dtype)]
    upstream = [random(planes, heads, patches, 4 * quarter, dtype=dtype, seed=seed) for seed in (3, 4)]
    turn = rotation(patches, 4 * quarter)
    with guarded():
        turned = rope2d(*inputs, *prepare(*turn, choice=KERNEL), choice=KERNEL)
        gradients = torch.autograd.grad(turned, inputs, upstream)
    doubles = [x.detach().double().requires_grad_() for x in inputs]
    expected = [exact(x, *turn) for x in doubles]
    expected_gradients = torch.autograd.grad(expected, doubles, [g.double() for g in upstream])
    for name, result, wanted in zip("qk", turned, expected, strict=True):
        assert_near(name, result, wanted, dtype)
    for name, result, wanted in zip(("dq", "dk"), gradients, expected_gradients, strict=True):
        assert_near(name, result, wanted, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_gradients_it_works_in_place(dtype: torch.dtype) -> None:
    """Two rows of a fused product: what lies between and around them stays as it was."""
    planes, heads, patches, head_dim = 2, 3, 5, 72
    buffer = torch.full((planes, patches, 4, heads, head_dim), CANARY, dtype=dtype, device=DEVICE)
    q, k = buffer[:, :, 1].transpose(1, 2), buffer[:, :, 2].transpose(1, 2)
    q[:], k[:] = queries_and_keys(planes, heads, patches, head_dim, dtype)
    turn = rotation(patches, head_dim)
    expected = [exact(x, *turn) for x in (q, k)]
    with torch.inference_mode(), guarded():
        turned = rope2d(q, k, *prepare(*turn, choice=KERNEL), choice=KERNEL)
    for given_tensor, result, wanted in zip((q, k), turned, expected, strict=True):
        assert result.data_ptr() == given_tensor.data_ptr()
        assert_near("turned in place", given_tensor, wanted, dtype)
    assert (buffer[:, :, [0, 3]] == CANARY).all()


def test_what_gradients_need_is_not_overwritten() -> None:
    q, k = (x.requires_grad_() for x in queries_and_keys(1, 2, 5, 8, torch.float32))
    before = q.detach().clone()
    rope2d(q, k, *prepare(*rotation(5, 8), choice=KERNEL), choice=KERNEL)
    assert torch.equal(q, before)


def test_gradients_of_a_repeated_gradient() -> None:
    """The gradient of a sum is one number shown everywhere: written in its own layout, values would collide."""
    q, k = (x.requires_grad_() for x in queries_and_keys(2, 2, 5, 8, torch.float32))
    turn = rotation(5, 8)
    turned = rope2d(q, k, *prepare(*turn, choice=KERNEL), choice=KERNEL)
    (gradient,) = torch.autograd.grad(turned[0].sum(), q)
    double = q.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad(exact(double, *turn).sum(), double)
    assert_near("dq", gradient, expected, torch.float32)


def test_parts_of_a_fused_product_with_gradients() -> None:
    """Their layout has holes, which the result has not: one set of strides does not fit both."""
    fused = random(2, 5, 3, 2, 8, dtype=torch.float32).requires_grad_()
    turn = rotation(5, 8)
    q, k = fused[:, :, 0].transpose(1, 2), fused[:, :, 1].transpose(1, 2)
    with guarded():
        turned = rope2d(q, k, *prepare(*turn, choice=KERNEL), choice=KERNEL)
    for result, x in zip(turned, (q, k), strict=True):
        assert_near("turned", result, exact(x, *turn), torch.float32)


def test_reference_has_right_gradients() -> None:
    """What the kernel's gradients are compared with is compared with finite differences."""
    q, k = (torch.randn(2, 2, 3, 8, dtype=torch.float64, requires_grad=True) for _ in "qk")
    positions_N2, frequencies_F = (tensor.cpu() for tensor in rotation(3, 8))
    tables = reference.prepare(positions_N2, frequencies_F.double())
    assert torch.autograd.gradcheck(lambda q, k: reference.rope2d(q, k, *tables), (q, k))


@needs_interpreter
def test_offsets_have_64_bits() -> None:
    """2,000 planes of 16,384 patches and 16 heads have 38 billion values."""
    planes, heads, patches, head_dim = 2000, 16, 16384, 72
    strides = (patches * heads * head_dim, head_dim, heads * head_dim)
    q, k, q_out, k_out = (torch.zeros(16) for _ in range(4))
    tables = (torch.zeros(1, 2, dtype=torch.int64), torch.zeros(18))
    programs = planes * patches * heads * head_dim // 2 // kernel.BLOCK
    found = accesses(
        kernel.rope2d_kernel,
        programs - 1,
        (q, k, q_out, k_out, *tables, patches, *strides, *strides),
        kernel.constants(heads, head_dim, inverse=False),
    )
    stores = [access for access in found if access.is_store]
    total = planes * patches * heads * head_dim
    for halves, out in ((stores[:2], q_out), (stores[2:], k_out)):
        elements = torch.cat([torch.from_numpy(half.elements(out)) for half in halves])
        assert elements.sort().values[-head_dim:].tolist() == list(range(total - head_dim, total))
        assert int(elements.min()) >= total - 2 * kernel.BLOCK - head_dim
    assert int(found[0].elements(tables[0]).max()) == 2 * patches - 1


@pytest.mark.gpu
@needs_gpu
def test_large_input_on_a_gpu() -> None:
    """More than 2^31 values: the last plane is turned as it is alone."""
    q, k = (torch.ones(2000, 1024, 16 * 72, dtype=torch.bfloat16, device="cuda") for _ in "qk")
    q, k = by_head(q, 16), by_head(k, 16)
    turn = prepare(*rotation(1024, 72))
    alone = exact(q[:1], *turn)
    assert_near("last plane", rope2d(q, k, *turn)[0][-1:], alone, torch.bfloat16)


def test_what_does_not_fit_is_refused() -> None:
    q, k = queries_and_keys(1, 2, 5, 8, torch.float32)
    turn = prepare(*rotation(5, 8), choice=KERNEL)
    with pytest.raises(ValueError, match="give both alike"):
        rope2d(q, k[:, :1], *turn, choice=KERNEL)
    with pytest.raises(ValueError, match="do not fit"):
        rope2d(q, k, *prepare(*rotation(4, 8), choice=KERNEL), choice=KERNEL)
