"""Patches to normalised pixels: every value is read as one byte and written once."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 4096


@triton.jit
def patch_embed_input_fwd_kernel(
    patches,
    out,
    num_values,
    SCALES: tl.constexpr,
    SHIFTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    AREA: tl.constexpr,
    BLOCK: tl.constexpr,
):
    start = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    inside = lane < num_values - start
    # The remainder is taken of the start alone, once: dividing 64-bit numbers costs dozens of instructions a value.
    channel = ((start % (CHANNELS * AREA)).to(tl.int32) + lane) // AREA % CHANNELS
    scale = tl.full([BLOCK], SCALES[0], tl.float32)
    shift = tl.full([BLOCK], SHIFTS[0], tl.float32)
    for c in tl.static_range(1, CHANNELS):
        scale = tl.where(channel == c, SCALES[c], scale)
        shift = tl.where(channel == c, SHIFTS[c], shift)
    pixels = tl.load(patches + start + lane, inside, other=0).to(tl.float32)
    tl.store(out + start + lane, (pixels * scale + shift).to(out.dtype.element_ty), inside)


def patch_embed_input(patches: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> Tensor:
    """See `hulumed_kernels.patch_embed_input`."""
    patches = patches.contiguous()
    out = torch.empty(patches.shape, dtype=dtype, device=patches.device)
    num_values = patches.numel()
    if num_values:
        grid = (triton.cdiv(num_values, BLOCK),)
        patch_embed_input_fwd_kernel[grid](
            patches, out, num_values, **constants(mean, std, patches.shape[-1] // len(mean))
        )
    return out


def constants(mean: Sequence[float], std: Sequence[float], area: int) -> dict[str, Any]:
    """What is compiled into the kernel: `(pixel / 255 - mean) / std` as one multiplication and one addition."""
    return {
        "SCALES": tuple(1.0 / 255.0 / deviation for deviation in std),
        "SHIFTS": tuple(-centre / deviation for centre, deviation in zip(mean, std, strict=True)),
        "CHANNELS": len(mean),
        "AREA": area,
        "BLOCK": BLOCK,
    }
