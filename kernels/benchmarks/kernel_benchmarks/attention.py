"""Attention inside planes of unequal grids: what PyTorch offers, which a kernel of ours would have to beat.

Shape suffixes: S patches of all planes, H heads, N patches of a plane, C head dimension.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from kernel_benchmarks.registry import HEAD_DIM, HEADS

PATCHES = (400,) * 40 + (468,) * 32 + (196,) * 64 + (1024,) * 8
"""Patches of the planes of four requests that wait for the encoder at the same time, plane by plane."""

BUCKETED, NESTED, PADDED, DENSE = "a batch a grid", "nested tensor", "padded", "dense mask"


def attentions(
    device: torch.device, dtype: torch.dtype, patches: Sequence[int] = PATCHES
) -> Mapping[str, Callable[[], Tensor]]:
    """Ways to attend inside planes, all to the same values [S, H, C]. What prepares the layout is not in the call."""
    generator = torch.Generator(device).manual_seed(0)
    size = (3, sum(patches), HEADS, HEAD_DIM)
    q_SHC, k_SHC, v_SHC = torch.randn(size, dtype=dtype, device=device, generator=generator)
    tensors = (q_SHC, k_SHC, v_SHC)
    return {
        BUCKETED: _bucketed(tensors, patches),
        NESTED: _nested(tensors, patches),
        PADDED: _padded(tensors, patches),
        DENSE: _dense(tensors, patches),
    }


def _bucketed(tensors: Sequence[Tensor], patches: Sequence[int]) -> Callable[[], Tensor]:
    """What the encoder does: planes of equal grid are a batch."""
    batches = [(len(list(group)), num_patches) for num_patches, group in groupby(patches)]
    rows = [planes * num_patches for planes, num_patches in batches]
    parts = [
        [part.view(*batch, HEADS, HEAD_DIM).transpose(1, 2) for part in split]
        for batch, split in zip(batches, zip(*(torch.split(x, rows) for x in tensors), strict=True), strict=True)
    ]
    return lambda: torch.cat([F.scaled_dot_product_attention(*part).transpose(1, 2).flatten(0, 1) for part in parts])


def _nested(tensors: Sequence[Tensor], patches: Sequence[int]) -> Callable[[], Tensor]:
    device = tensors[0].device
    offsets = torch.tensor([0, *patches], device=device).cumsum(0)
    q, k, v = (
        torch.nested.nested_tensor_from_jagged(x, offsets, min_seqlen=min(patches), max_seqlen=max(patches)).transpose(
            1, 2
        )
        for x in tensors
    )
    return lambda: F.scaled_dot_product_attention(q, k, v).transpose(1, 2).values()


def _padded(tensors: Sequence[Tensor], patches: Sequence[int]) -> Callable[[], Tensor]:
    """Every plane as long as the longest, and a mask over what is none."""
    lengths = torch.tensor(patches, device=tensors[0].device)
    real_PN = torch.arange(max(patches), device=lengths.device) < lengths[:, None]
    padded = [x.new_zeros(*real_PN.shape, *x.shape[1:]) for x in tensors]
    for whole, x in zip(padded, tensors, strict=True):
        whole[real_PN] = x
    q, k, v = (x.transpose(1, 2) for x in padded)
    return lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=real_PN[:, None, None]).transpose(1, 2)[real_PN]


def _dense(tensors: Sequence[Tensor], patches: Sequence[int]) -> Callable[[], Tensor]:
    """As published: one sequence, and a mask of who sees whom."""
    lengths = torch.tensor(patches, device=tensors[0].device)
    plane_S = torch.arange(len(patches), device=lengths.device).repeat_interleave(lengths)
    mask_SS = plane_S[:, None] == plane_S
    q, k, v = (x.transpose(0, 1)[None] for x in tensors)
    return lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask_SS)[0].transpose(0, 1)
