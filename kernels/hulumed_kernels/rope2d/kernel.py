"""Queries and keys turned in one pass, each read and written once; sines and cosines never reach memory.

A program takes a block of the pairs of one plane. A pair is a value of the first half of a head and the value of the
second half that it turns with; its patch gives the position, its place in the head axis and frequency.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 1024


@triton.jit
def rope2d_kernel(
    q,
    k,
    q_out,
    k_out,
    positions,
    frequencies,
    patches,
    q_stride_p,
    q_stride_h,
    q_stride_n,
    k_stride_p,
    k_stride_h,
    k_stride_n,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
    INVERSE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    blocks = tl.cdiv(patches * HEADS * HALF, BLOCK)
    plane = (tl.program_id(0) // blocks).to(tl.int64)
    pair = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = pair < patches * HEADS * HALF
    place = pair % HALF
    head = pair // HALF % HEADS
    patch = pair // HALF // HEADS
    quarter: tl.constexpr = HALF // 2
    position = tl.load(positions + patch * 2 + place // quarter, inside, other=0).to(tl.float32)
    angle = position * tl.load(frequencies + place % quarter)
    cos, sin = tl.cos(angle), tl.sin(angle)
    if INVERSE:
        sin = -sin
    at = plane * q_stride_p + head.to(tl.int64) * q_stride_h + patch.to(tl.int64) * q_stride_n + place
    _turn(q + at, q_out + at, cos, sin, inside, HALF)
    at = plane * k_stride_p + head.to(tl.int64) * k_stride_h + patch.to(tl.int64) * k_stride_n + place
    _turn(k + at, k_out + at, cos, sin, inside, HALF)


@triton.jit
def _turn(source, target, cos, sin, inside, HALF: tl.constexpr):
    left = tl.load(source, inside, other=0).to(tl.float32)
    right = tl.load(source + HALF, inside, other=0).to(tl.float32)
    tl.store(target, (left * cos - right * sin).to(target.dtype.element_ty), inside)
    tl.store(target + HALF, (right * cos + left * sin).to(target.dtype.element_ty), inside)


class Rope2d(torch.autograd.Function):
    """The rotation with its gradient, which is the rotation back; only positions and frequencies are kept for it."""

    @staticmethod
    def forward(
        ctx: Any, q_PHNC: Tensor, k_PHNC: Tensor, positions_N2: Tensor, frequencies_F: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(positions_N2, frequencies_F)
        return _rotated(q_PHNC, k_PHNC, positions_N2, frequencies_F, inverse=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        dq_PHNC, dk_PHNC = _rotated(*gradients, *ctx.saved_tensors, inverse=True)
        return dq_PHNC, dk_PHNC, None, None


def rotate(q_PHNC: Tensor, k_PHNC: Tensor, positions_N2: Tensor, frequencies_F: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys, turned, with their gradients."""
    turned: tuple[Tensor, Tensor] = Rope2d.apply(q_PHNC, k_PHNC, positions_N2, frequencies_F)
    return turned


def rotate_in_place(
    q_PHNC: Tensor, k_PHNC: Tensor, positions_N2: Tensor, frequencies_F: Tensor
) -> tuple[Tensor, Tensor]:
    """Queries and keys, turned where they are."""
    _launch((q_PHNC, q_PHNC), (k_PHNC, k_PHNC), positions_N2, frequencies_F, inverse=False)
    return q_PHNC, k_PHNC


def constants(heads: int, head_dim: int, *, inverse: bool) -> dict[str, Any]:
    """What is compiled into the kernel: the heads of a patch, and which way they turn."""
    return {"HEADS": heads, "HALF": head_dim // 2, "INVERSE": inverse, "BLOCK": BLOCK}


def _rotated(
    q_PHNC: Tensor, k_PHNC: Tensor, positions_N2: Tensor, frequencies_F: Tensor, *, inverse: bool
) -> tuple[Tensor, Tensor]:
    queries, keys = _with_room(q_PHNC), _with_room(k_PHNC)
    _launch(queries, keys, positions_N2, frequencies_F, inverse=inverse)
    return queries[1], keys[1]


def _with_room(x_PHNC: Tensor) -> tuple[Tensor, Tensor]:
    """The tensor and room for its result in the same layout; a layout with holes or repetitions is made plain."""
    out_PHNC = torch.empty_like(x_PHNC)
    if out_PHNC.stride() == x_PHNC.stride() and x_PHNC.stride(-1) == 1:
        return x_PHNC, out_PHNC
    plain_PHNC = x_PHNC.contiguous()
    return plain_PHNC, torch.empty_like(plain_PHNC)


def _launch(
    queries: tuple[Tensor, Tensor],
    keys: tuple[Tensor, Tensor],
    positions_N2: Tensor,
    frequencies_F: Tensor,
    *,
    inverse: bool,
) -> None:
    """Turns the first of each pair into the second, which has the same layout."""
    (q, q_out), (k, k_out) = queries, keys
    planes, heads, patches, head_dim = q.shape
    programs = planes * triton.cdiv(patches * heads * head_dim // 2, BLOCK)
    if programs:
        rope2d_kernel[(programs,)](
            *(q, k, q_out, k_out, positions_N2, frequencies_F, patches),
            *(*q.stride()[:3], *k.stride()[:3]),
            **constants(heads, head_dim, inverse=inverse),
        )
