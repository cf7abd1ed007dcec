"""Patches merged to tokens, and the tokens that are kept packed together, in one pass.

Shape suffixes: P planes, N patches of a plane, D hidden size, K tokens of a plane (N / merge²), T kept tokens.
"""

import torch
from torch import Tensor

from hulumed_kernels.dispatch import KernelChoice, uses_kernel
from hulumed_kernels.merge_pack import reference


def merge_pack(
    x_PND: Tensor, merge: int, keep_PK: Tensor | None = None, *, choice: KernelChoice = KernelChoice.AUTO
) -> Tensor:
    """Returns the kept tokens [T, D], plane by plane, each the mean of the middle of its square of patches.

    Equals the published bilinear resize to 1/merge (align_corners=False), which samples the middle of the square: its
    centre patch when merge is odd, the mean of its four centre patches when even, which at 2 are all of them. What is
    not kept is not read.

    Args:
        x_PND: features of patches, in merge-block order.
        merge: side of the square of patches that becomes one token.
        keep_PK: bool [P, K]; None keeps every token. On the CPU, where the keep rule makes it, the number of kept
            tokens is known without waiting for the device.
        choice: the implementation.

    Raises:
        ValueError: the patches do not divide into squares, or the mask is none of the tokens.
    """
    planes, patches, _ = x_PND.shape
    if patches % merge**2:
        raise ValueError(f"features {tuple(x_PND.shape)} do not divide into squares of {merge} x {merge} patches")
    if keep_PK is not None and (keep_PK.dtype, keep_PK.shape) != (torch.bool, (planes, patches // merge**2)):
        raise ValueError(
            f"a mask {keep_PK.dtype} {tuple(keep_PK.shape)} for features {tuple(x_PND.shape)} with merge {merge}: "
            f"give bool {(planes, patches // merge**2)}"
        )
    if not uses_kernel(choice, x_PND):
        return reference.merge_pack(x_PND, merge, keep_PK)
    from hulumed_kernels.merge_pack import kernel

    return kernel.merge_pack(x_PND, merge, keep_PK)
