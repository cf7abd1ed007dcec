"""Which implementation of an op runs. Light on purpose: settings name a choice without torch or triton at hand."""

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class KernelChoice(StrEnum):
    """The implementation that an op uses."""

    AUTO = "auto"
    """The kernel for tensors on a CUDA device, the reference elsewhere."""

    TRITON = "triton"
    """The kernel, wherever the tensors are; off a CUDA device only Triton's interpreter can run it."""

    REFERENCE = "reference"
    """Plain PyTorch, wherever the tensors are."""


def uses_kernel(choice: KernelChoice, tensor: "Tensor") -> bool:
    """Whether an op given this tensor runs its kernel."""
    return choice is KernelChoice.TRITON or (choice is KernelChoice.AUTO and tensor.is_cuda)
