"""The merge of patches to tokens in plain PyTorch. Shape suffixes as in `hulumed_kernels.merge_pack`."""

from torch import Tensor


def merge_pack(x_PND: Tensor, merge: int, keep_PK: Tensor | None) -> Tensor:
    """See `hulumed_kernels.merge_pack`."""
    merged_PKD = merge_patches(x_PND, merge)
    return merged_PKD.flatten(0, 1) if keep_PK is None else merged_PKD[keep_PK.to(x_PND.device)]


def merge_patches(x_PND: Tensor, merge: int) -> Tensor:
    """Every token of every plane, [P, K, D]: the mean of the middle of its square."""
    planes, patches, hidden = x_PND.shape
    squares = x_PND.view(planes, patches // merge**2, merge, merge, hidden)
    centre = slice((merge - 1) // 2, merge // 2 + 1)
    merged_PKD: Tensor = squares[:, :, centre, centre].mean(dim=(2, 3))
    return merged_PKD
