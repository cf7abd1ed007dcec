"""The novelty of tokens: one warp measures a token on a few planes that follow each other, four pixels at a time."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 128
"""Words of four values that a warp reads at once from a plane: sixteen bytes a thread."""

RUN = 4
"""Planes that a program measures. It reads one plane more than that, so longer is less to read; shorter is more
programs, without which a short volume leaves most of the device idle."""


@triton.jit
def novelty_fwd_kernel(
    words,
    out,
    planes,
    tokens,
    WEIGHTS: tl.constexpr,
    SCALE: tl.constexpr,
    CHANNELS: tl.constexpr,
    AREA: tl.constexpr,
    WORDS: tl.constexpr,
    BLOCK: tl.constexpr,
    RUN: tl.constexpr,
):
    token = tl.program_id(0) % tokens
    plane = tl.program_id(0) // tokens * RUN + tl.arange(0, RUN)
    # Plane 0 has no plane before it, and beyond the last there is none.
    measured = (plane > 0) & (plane < planes)
    row = plane.to(tl.int64) * tokens + token
    current = words + row[:, None] * WORDS
    previous = current - tokens * WORDS
    total = tl.zeros([RUN, BLOCK], tl.float32)
    for start in tl.static_range(0, WORDS, BLOCK):
        lane = start + tl.arange(0, BLOCK)
        inside = measured[:, None] & (lane < WORDS)[None, :]
        new = tl.load(current + lane[None, :], inside, other=0)
        # The row above has read this as its own, so it comes from the L1 cache.
        old = tl.load(previous + lane[None, :], inside, other=0)
        weight = tl.full([BLOCK], WEIGHTS[0], tl.float32)
        for c in tl.static_range(1, CHANNELS):
            weight = tl.where(lane // AREA % CHANNELS == c, WEIGHTS[c], weight)
        total += _difference(new, old).to(tl.float32) * weight[None, :]
    # Where the weights are powers of two, as published, every term and sum is exact: only this product rounds.
    mean = (tl.sum(total, 1).to(tl.float64) * SCALE).to(tl.float32)
    tl.store(out + row, tl.where(plane == 0, float("inf"), mean), plane < planes)


@triton.jit
def _difference(new, old):
    """Sum of the absolute differences of the four bytes of each word.

    Byte by byte the kernel is 12.7 instructions a value in sm_90 code, like this 7.2: memory at full speed leaves time
    for about ten.
    """
    even = _fields_apart(new & 0x00FF00FF, old & 0x00FF00FF)
    odd = _fields_apart((new >> 8) & 0x00FF00FF, (old >> 8) & 0x00FF00FF)
    pairs = even + odd
    return (pairs & 0xFFFF) + (pairs >> 16)


@triton.jit
def _fields_apart(a, b):
    """Absolute differences of the bytes in the two 16-bit fields of each word."""
    apart = (a | 0x01000100) - b
    below = ~(apart >> 8) & 0x00010001
    # Where a is below b, the low byte is 256 - (b - a): its complement is one less than b - a.
    return ((apart & 0x00FF00FF) ^ (below * 0xFF)) + below


def novelty(patches_PNF: Tensor, merge: int, std: Sequence[float]) -> Tensor:
    """See `hulumed_kernels.novelty`.

    Raises:
        ValueError: a channel of a patch is not a multiple of four values.
    """
    planes, patches, features = patches_PNF.shape
    if features // len(std) % 4:
        raise ValueError(f"a channel has {features // len(std)} values a patch; the kernel needs a multiple of four")
    words = patches_PNF.contiguous().view(torch.int32)
    tokens = patches // merge**2
    out_PK = torch.empty(planes, tokens, device=patches_PNF.device)
    if out_PK.numel():
        grid = (triton.cdiv(planes, RUN) * tokens,)
        novelty_fwd_kernel[grid](words, out_PK, planes, tokens, **constants(merge, std, features), num_warps=1)
    return out_PK


def constants(merge: int, std: Sequence[float], features: int) -> dict[str, Any]:
    """What is compiled into the kernel: sizes of a token in words, and what turns its sums into a mean."""
    values = merge**2 * features
    return {
        "WEIGHTS": tuple(1.0 / deviation for deviation in std),
        "SCALE": 1.0 / 255.0 / values,
        "CHANNELS": len(std),
        "AREA": features // len(std) // 4,
        "WORDS": values // 4,
        "BLOCK": BLOCK,
        "RUN": RUN,
    }
