"""Tensors on the wire: exact bits for every dtype, and nothing malformed gets through."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.rpc import codec, torch_codec
from hulumed_platform.rpc.v1 import tensor_pb2

DTYPES = st.sampled_from(sorted(codec.NUMPY_DTYPES))
SHAPES = st.lists(st.integers(0, 5), min_size=0, max_size=4)


@given(dtype=DTYPES, shape=SHAPES, seed=st.integers(0, 2**32 - 1))
def test_array_survives_the_wire_bit_by_bit(dtype: tensor_pb2.DType.ValueType, shape: list[int], seed: int) -> None:
    """A cache hit must be bit-identical to a miss, so the codec may not touch a value."""
    bits = np.random.default_rng(seed).integers(0, 256, math.prod(shape) * codec.NUMPY_DTYPES[dtype].itemsize, np.uint8)
    array = bits.view(codec.NUMPY_DTYPES[dtype]).reshape(shape)
    wire = tensor_pb2.Tensor.FromString(codec.encode(array, dtype).SerializeToString())
    assert codec.decode(wire).tobytes() == array.tobytes()
    assert codec.decode(wire).shape == tuple(shape)


@pytest.mark.parametrize("dtype", list(torch_codec.WIRE_DTYPES))
def test_torch_tensor_survives_the_wire(dtype: torch.dtype) -> None:
    """bfloat16 has no NumPy dtype; its bits travel as uint16 and come back as bfloat16."""
    tensor = (torch.arange(12).reshape(3, 4) / 3).to(dtype)
    wire_dtype = torch_codec.WIRE_DTYPES[dtype]
    wire = codec.encode(torch_codec.to_array(tensor), wire_dtype)
    back = torch_codec.to_tensor(codec.decode(wire), wire_dtype)
    assert back.dtype is dtype
    assert torch.equal(back, tensor)


@pytest.mark.parametrize(
    "wire",
    [
        tensor_pb2.Tensor(dtype=tensor_pb2.DTYPE_FLOAT32, shape=[2], data=b"1234567"),
        tensor_pb2.Tensor(dtype=tensor_pb2.DTYPE_FLOAT32, shape=[2**62, 4], data=b""),
        tensor_pb2.Tensor(shape=[1], data=b"1"),
        tensor_pb2.Tensor(dtype=tensor_pb2.DTYPE_UINT8, shape=[2, 2], data=b"1234"),
    ],
    ids=["short", "overflow", "no dtype", "other shape"],
)
def test_malformed_tensor_is_refused(wire: tensor_pb2.Tensor) -> None:
    """Shapes come from the network: a product that overflows must not pass as a small number."""
    with pytest.raises(PlatformError, match="malformed tensor") as caught:
        codec.decode(wire, shape=(4,))
    assert caught.value.code is ErrorCode.INVALID_INPUT


@given(mask=st.lists(st.booleans(), max_size=40))
def test_mask_survives_as_bits(mask: list[bool]) -> None:
    """The number of tokens is not a multiple of eight in general; the padding bits mean nothing."""
    bits = codec.pack_bits(np.array(mask, dtype=np.bool_))
    assert codec.unpack_bits(bits, len(mask)).tolist() == mask


def test_mask_of_another_length_is_refused() -> None:
    """A mask that does not fit its plane would point evidence at the wrong patches."""
    with pytest.raises(PlatformError, match="2 bytes of mask came for 17 tokens"):
        codec.unpack_bits(b"\x00\x00", 17)
