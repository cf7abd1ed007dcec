"""Patches merged and packed: a program makes one kept token, and in the backward pass fills the patches of one token.

With a mask, `kept` holds the token of every kept row, and `rows` the row of every token, -1 where it was not kept.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable


@triton.jit
def merge_pack_fwd_kernel(
    x,
    kept,
    out,
    PACKED: tl.constexpr,
    MERGE: tl.constexpr,
    HIDDEN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    token = tl.load(kept + row) if PACKED else row
    lane = tl.arange(0, BLOCK)
    inside = lane < HIDDEN
    first: tl.constexpr = (MERGE - 1) // 2
    side: tl.constexpr = 2 - MERGE % 2
    total = tl.zeros([BLOCK], tl.float32)
    for i in tl.static_range(side):
        for j in tl.static_range(side):
            patch = token * MERGE * MERGE + (first + i) * MERGE + first + j
            total += tl.load(x + patch * HIDDEN + lane, inside, other=0).to(tl.float32)
    tl.store(out + row * HIDDEN + lane, (total / (side * side)).to(out.dtype.element_ty), inside)


@triton.jit
def merge_pack_bwd_kernel(
    d_out,
    rows,
    dx,
    PACKED: tl.constexpr,
    MERGE: tl.constexpr,
    HIDDEN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    row = tl.load(rows + token) if PACKED else token
    lane = tl.arange(0, BLOCK)
    inside = lane < HIDDEN
    first: tl.constexpr = (MERGE - 1) // 2
    side: tl.constexpr = 2 - MERGE % 2
    share = tl.load(d_out + row * HIDDEN + lane, inside & (row >= 0), other=0).to(tl.float32) / (side * side)
    for i in tl.static_range(MERGE):
        for j in tl.static_range(MERGE):
            patch = token * MERGE * MERGE + i * MERGE + j
            if (i >= first) & (i < first + side) & (j >= first) & (j < first + side):
                tl.store(dx + patch * HIDDEN + lane, share.to(dx.dtype.element_ty), inside)
            else:
                tl.store(dx + patch * HIDDEN + lane, tl.zeros([BLOCK], dx.dtype.element_ty), inside)


def merge_pack(x_PND: Tensor, merge: int, keep_PK: Tensor | None) -> Tensor:
    """See `hulumed_kernels.merge_pack`."""
    packed_TD: Tensor = MergePack.apply(x_PND, merge, keep_PK)
    return packed_TD


class MergePack(torch.autograd.Function):
    """The merge with its gradient, which writes every patch exactly once."""

    @staticmethod
    def forward(ctx: Any, x_PND: Tensor, merge: int, keep_PK: Tensor | None) -> Tensor:
        ctx.shape, ctx.merge, ctx.keep_PK = x_PND.shape, merge, keep_PK
        planes, patches, hidden = x_PND.shape
        kept_T = None if keep_PK is None else keep_PK.flatten().nonzero().flatten()
        num_kept = planes * patches // merge**2 if kept_T is None else len(kept_T)
        out_TD = torch.empty(num_kept, hidden, dtype=x_PND.dtype, device=x_PND.device)
        if num_kept:
            kept = None if kept_T is None else kept_T.to(x_PND.device)
            merge_pack_fwd_kernel[(num_kept,)](
                x_PND.contiguous(), kept, out_TD, **constants(merge, hidden, packed=kept is not None)
            )
        return out_TD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out_TD: Tensor) -> tuple[Tensor, None, None]:
        planes, patches, hidden = ctx.shape
        dx_PND = torch.empty(ctx.shape, dtype=d_out_TD.dtype, device=d_out_TD.device)
        if dx_PND.numel():
            rows = None if ctx.keep_PK is None else _rows(ctx.keep_PK).to(d_out_TD.device)
            merge_pack_bwd_kernel[(planes * patches // ctx.merge**2,)](
                d_out_TD.contiguous(), rows, dx_PND, **constants(ctx.merge, hidden, packed=rows is not None)
            )
        return dx_PND, None, None


def constants(merge: int, hidden: int, *, packed: bool) -> dict[str, Any]:
    """What is compiled into the kernels: the square, the length of a row, and whether tokens are left out."""
    return {"PACKED": packed, "MERGE": merge, "HIDDEN": hidden, "BLOCK": triton.next_power_of_2(hidden)}


def _rows(keep_PK: Tensor) -> Tensor:
    """The row of every token in the packed result, [P * K]; -1 where it has none."""
    keep = keep_PK.flatten()
    return torch.where(keep, keep.cumsum(0) - 1, -1)
