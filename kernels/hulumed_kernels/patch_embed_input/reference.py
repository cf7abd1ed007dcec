"""Patches to normalised pixels in plain PyTorch. F values of a flat patch, channel-major."""

from collections.abc import Sequence

import torch
from torch import Tensor


def patch_embed_input(patches: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> Tensor:
    """See `hulumed_kernels.patch_embed_input`; computes in float32."""
    area = patches.shape[-1] // len(mean)
    mean_F, std_F = (torch.tensor(values, device=patches.device).repeat_interleave(area) for values in (mean, std))
    return ((patches.float() / 255.0 - mean_F) / std_F).to(dtype)
