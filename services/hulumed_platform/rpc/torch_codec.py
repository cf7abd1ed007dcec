"""Tensors on the wire to torch and back, without a detour over float32 for bfloat16. Only model rooms import it."""

import numpy as np
import torch
from numpy.typing import NDArray

from hulumed_platform.rpc.v1 import tensor_pb2
from hulumed_platform.rpc.v1.tensor_pb2 import DType

WIRE_DTYPES: dict[torch.dtype, DType.ValueType] = {
    torch.uint8: tensor_pb2.DTYPE_UINT8,
    torch.float32: tensor_pb2.DTYPE_FLOAT32,
    torch.float16: tensor_pb2.DTYPE_FLOAT16,
    torch.bfloat16: tensor_pb2.DTYPE_BFLOAT16,
}


def to_array(tensor: torch.Tensor) -> NDArray[np.generic]:
    """The tensor as an array on the CPU; bfloat16 as uint16 bits."""
    tensor = tensor.detach().cpu().contiguous()
    return (tensor.view(torch.uint16) if tensor.dtype is torch.bfloat16 else tensor).numpy()


def to_tensor(array: NDArray[np.generic], dtype: DType.ValueType) -> torch.Tensor:
    """A tensor of its own memory from an array as `codec.decode` gives it."""
    tensor = torch.from_numpy(array.copy())
    return tensor.view(torch.bfloat16) if dtype == tensor_pb2.DTYPE_BFLOAT16 else tensor
