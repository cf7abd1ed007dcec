"""Tensors on the wire: dtype, shape and little-endian raw bytes. NumPy only; torch rooms use `torch_codec`.

NumPy has no bfloat16: such tensors are handed over as uint16 arrays that hold the same bits.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.rpc.v1 import tensor_pb2
from hulumed_platform.rpc.v1.tensor_pb2 import DType

NUMPY_DTYPES: dict[DType.ValueType, np.dtype] = {
    tensor_pb2.DTYPE_UINT8: np.dtype("u1"),
    tensor_pb2.DTYPE_FLOAT32: np.dtype("<f4"),
    tensor_pb2.DTYPE_FLOAT16: np.dtype("<f2"),
    tensor_pb2.DTYPE_BFLOAT16: np.dtype("<u2"),
}


def encode(array: NDArray[np.generic], dtype: DType.ValueType) -> tensor_pb2.Tensor:
    """Pack an array whose item size is that of `dtype` (bfloat16: uint16 bits)."""
    wire = np.asarray(array, dtype=NUMPY_DTYPES[dtype], order="C")
    return tensor_pb2.Tensor(dtype=dtype, shape=wire.shape, data=wire.tobytes())


def decode(tensor: tensor_pb2.Tensor, *, shape: Sequence[int | None] | None = None) -> NDArray[np.generic]:
    """View the tensor's bytes as a read-only array.

    Args:
        tensor: From the wire, untrusted.
        shape: What the shape must be; None stands for any length.

    Raises:
        PlatformError: INVALID_INPUT where dtype, shape and number of bytes do not agree.
    """
    numpy_dtype = NUMPY_DTYPES.get(tensor.dtype)
    if numpy_dtype is None:
        raise _refused(f"dtype {tensor.dtype} is unknown")
    dims = tuple(tensor.shape)
    expected = math.prod(dims) * numpy_dtype.itemsize
    if expected != len(tensor.data):
        raise _refused(f"shape {list(dims)} needs {expected} bytes, {len(tensor.data)} came")
    if shape is not None and not _fits(dims, shape):
        raise _refused(f"shape {list(dims)} came where {list(shape)} was expected")
    return np.frombuffer(tensor.data, dtype=numpy_dtype).reshape(dims)


def pack_bits(mask: NDArray[np.bool_]) -> bytes:
    """One bit a token, most significant bit first."""
    return np.packbits(mask).tobytes()


def unpack_bits(bits: bytes, count: int) -> NDArray[np.bool_]:
    """The mask of `count` tokens.

    Raises:
        PlatformError: INVALID_INPUT where there are not exactly enough bytes.
    """
    if len(bits) != (count + 7) // 8:
        raise _refused(f"{len(bits)} bytes of mask came for {count} tokens")
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=count).astype(np.bool_)


def _fits(dims: tuple[int, ...], shape: Sequence[int | None]) -> bool:
    return len(dims) == len(shape) and all(want in (None, have) for have, want in zip(dims, shape, strict=True))


def _refused(reason: str) -> PlatformError:
    return PlatformError(ErrorCode.INVALID_INPUT, f"malformed tensor: {reason}")
