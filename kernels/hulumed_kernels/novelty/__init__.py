"""What is new in every token of a plane: the measure that the keep rule of Hulu-Med compares with its threshold."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hulumed_kernels.dispatch import KernelChoice, uses_kernel
from hulumed_kernels.novelty import reference


def novelty(
    patches_PNF: Tensor, merge: int, std: Sequence[float], *, choice: KernelChoice = KernelChoice.AUTO
) -> Tensor:
    """Returns the mean absolute difference of every token's pixels to the plane before, in normalised units.

    float32 [P, N / merge²]; +inf on plane 0, which has no plane before it. With the published deviation of 0.5 the
    result is, bit for bit, that of `hulumed_platform.imaging.patches.novelty`.

    Args:
        patches_PNF: uint8 [planes, patches, channels * area], patches in merge-block order, the channel slowest within
            a patch. The planes follow each other in one item.
        merge: side of the square of patches that becomes one token.
        std: of each channel, of pixels scaled to [0, 1].
        choice: the implementation.

    Raises:
        ValueError: the patches are not uint8, or do not divide into tokens and channels.
    """
    _, patches, features = patches_PNF.shape
    if patches_PNF.dtype != torch.uint8 or patches % merge**2 or features % len(std):
        raise ValueError(
            f"patches {patches_PNF.dtype} {tuple(patches_PNF.shape)} with merge {merge} and {len(std)} deviations: "
            "give uint8 patches that divide into tokens and channels"
        )
    if not uses_kernel(choice, patches_PNF):
        return reference.novelty(patches_PNF, merge, std)
    from hulumed_kernels.novelty import kernel

    return kernel.novelty(patches_PNF, merge, std)
