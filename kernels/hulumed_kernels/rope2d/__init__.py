"""Rotary positions in two dimensions: queries and keys turn with the row and the column of their patch.

Shape suffixes: P planes, H heads, N patches of a plane, C head dimension, F frequencies (C / 4).
"""

import torch
from torch import Tensor

from hulumed_kernels.dispatch import KernelChoice, uses_kernel
from hulumed_kernels.rope2d import reference


def prepare(
    positions_N2: Tensor, frequencies_F: Tensor, *, choice: KernelChoice = KernelChoice.AUTO
) -> tuple[Tensor, Tensor]:
    """What `rope2d` turns by, made once for all layers of a forward pass.

    For the kernel these are the arguments as they are. The reference gets cosines and sines, float32 [N, C], so that it
    need not compute them in every layer.

    Args:
        positions_N2: row and column of every patch, integers [N, 2].
        frequencies_F: angle of a step in a row or a column, float32 [C / 4].
        choice: the implementation; give the same one to `rope2d`.
    """
    if uses_kernel(choice, positions_N2):
        return positions_N2, frequencies_F
    return reference.prepare(positions_N2, frequencies_F)


def rope2d(
    q_PHNC: Tensor, k_PHNC: Tensor, *rotation: Tensor, choice: KernelChoice = KernelChoice.AUTO
) -> tuple[Tensor, Tensor]:
    """Returns queries and keys, each turned by the angles of its patch; computed in float32, in the type they came in.

    The first C / 4 values turn with the row, the next C / 4 with the column, each with the value C / 2 further on.

    The queries and keys given are used up: where no gradient is asked for, the kernel writes the result over them.

    Args:
        q_PHNC: queries [P, H, N, C], in any layout of dense heads (last stride 1) that shows no value twice.
        k_PHNC: keys, likewise.
        rotation: the pair that `prepare` made.
        choice: the implementation.

    Raises:
        ValueError: queries and keys differ in shape or type, or have other patches or heads than the rotation.
    """
    if q_PHNC.shape != k_PHNC.shape or q_PHNC.dtype != k_PHNC.dtype or q_PHNC.shape[-1] % 4:
        raise ValueError(
            f"queries {q_PHNC.dtype} {tuple(q_PHNC.shape)} and keys {k_PHNC.dtype} {tuple(k_PHNC.shape)}: "
            "give both alike, with a head dimension that divides by four"
        )
    first, second = rotation
    if not uses_kernel(choice, q_PHNC):
        return reference.rope2d(q_PHNC, k_PHNC, first, second)
    from hulumed_kernels.rope2d import kernel

    if (len(first), second.numel() * 4) != q_PHNC.shape[-2:]:
        raise ValueError(
            f"{len(first)} positions and {second.numel()} frequencies do not fit queries {tuple(q_PHNC.shape)}"
        )
    if torch.is_grad_enabled() and (q_PHNC.requires_grad or k_PHNC.requires_grad):
        return kernel.rotate(q_PHNC, k_PHNC, first, second)
    return kernel.rotate_in_place(q_PHNC, k_PHNC, first, second)
