"""The novelty of tokens in plain PyTorch. P planes, N patches of a plane, F values of a flat patch, K tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor


def novelty(patches_PNF: Tensor, merge: int, std: Sequence[float]) -> Tensor:
    """See `hulumed_kernels.novelty`; adds integers, weighs them in float64 and rounds once."""
    planes, patches, features = patches_PNF.shape
    values, tokens = merge**2 * features, patches // merge**2
    wide = patches_PNF.to(torch.int16).view(planes, tokens, merge**2, len(std), features // len(std))
    sums_PKC = (wide[1:] - wide[:-1]).abs().sum(dim=(2, 4))
    weights_C = 1.0 / torch.tensor(std, dtype=torch.float64, device=patches_PNF.device)
    first_1K = torch.full((min(planes, 1), tokens), torch.inf, device=patches_PNF.device)
    return torch.cat([first_1K, ((sums_PKC * weights_C).sum(-1) * (1.0 / 255.0 / values)).float()])
