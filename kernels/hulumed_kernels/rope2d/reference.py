"""The rotation of queries and keys in plain PyTorch. Shape suffixes as in `hulumed_kernels.rope2d`."""

import torch
from torch import Tensor


def prepare(positions_N2: Tensor, frequencies_F: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles of every patch, float32 [N, C]."""
    angles_NC = angles(positions_N2, frequencies_F)
    return angles_NC.cos(), angles_NC.sin()


def angles(positions_N2: Tensor, frequencies_F: Tensor) -> Tensor:
    """Angles of every patch, [N, C]: a quarter turns with its row, the next with its column, and the same again."""
    return (positions_N2[..., None] * frequencies_F).flatten(1).repeat(1, 2)


def rope2d(q_PHNC: Tensor, k_PHNC: Tensor, cos_NC: Tensor, sin_NC: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys turned by tables of their angles; the arguments are left as they are."""
    return rotate(q_PHNC, cos_NC, sin_NC), rotate(k_PHNC, cos_NC, sin_NC)


def rotate(x_PHNC: Tensor, cos_NC: Tensor, sin_NC: Tensor) -> Tensor:
    """Queries or keys turned by tables of their angles, computed in the type of the tables."""
    x = x_PHNC.to(cos_NC.dtype)
    left, right = x.chunk(2, dim=-1)
    return (x * cos_NC + torch.cat([-right, left], dim=-1) * sin_NC).to(x_PHNC.dtype)
