"""Patches of uint8 pixels to the normalised values that the patch embedding multiplies, in one pass."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hulumed_kernels.dispatch import KernelChoice, uses_kernel
from hulumed_kernels.patch_embed_input import reference


def patch_embed_input(
    patches: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: torch.dtype,
    *,
    choice: KernelChoice = KernelChoice.AUTO,
) -> Tensor:
    """Returns `(patches / 255 - mean) / std` by channel, computed in float32, of `patches`' shape.

    Args:
        patches: uint8 [..., channels * area], the channel slowest within a patch.
        mean: of each channel, of pixels scaled to [0, 1].
        std: of each channel, of pixels scaled to [0, 1].
        dtype: of the result: float32, bfloat16 or float16.
        choice: the implementation.

    Raises:
        ValueError: the patches are not uint8, or do not divide into the channels.
    """
    if patches.dtype != torch.uint8 or patches.shape[-1] % len(mean) or len(mean) != len(std):
        raise ValueError(
            f"patches {patches.dtype} {tuple(patches.shape)} with {len(mean)} means and {len(std)} deviations: "
            "give uint8 patches whose last side divides by the number of channels"
        )
    if not uses_kernel(choice, patches):
        return reference.patch_embed_input(patches, mean, std, dtype)
    from hulumed_kernels.patch_embed_input import kernel

    return kernel.patch_embed_input(patches, mean, std, dtype)
