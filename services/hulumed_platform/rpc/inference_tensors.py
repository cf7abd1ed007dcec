"""Tensors of the Open Inference Protocol v2 to arrays and back, in both forms: typed contents and raw bytes.

"Tensor Data" of the protocol (KServe): raw bytes are little-endian and row-major; an element of a BYTES tensor is
preceded by its length, 4 bytes little-endian.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as oip  # type: ignore[import-untyped]
from numpy.typing import NDArray

from hulumed_platform.rpc.convert import invalid

Array = NDArray[Any]

_DTYPES = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "INT64": np.dtype("<i8"),
    "FP32": np.dtype("<f4"),
    "BYTES": np.dtype("O"),
}
_CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "BYTES": "bytes_contents",
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor that a model takes or gives; -1 in `shape` is any length."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def metadata(self) -> oip.ModelMetadataResponse.TensorMetadata:
        """As `ModelMetadata` tells it."""
        return oip.ModelMetadataResponse.TensorMetadata(name=self.name, datatype=self.datatype, shape=self.shape)


def read_inputs(request: oip.ModelInferRequest, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """The inputs of a request by name; BYTES tensors as arrays of `bytes`.

    Raises:
        PlatformError: INVALID_INPUT where names, datatypes, shapes and data are not those of the model.
    """
    expected = {spec.name: spec for spec in specs}
    names = [tensor.name for tensor in request.inputs]
    if sorted(names) != sorted(expected):
        raise invalid("inputs", f"{', '.join(names) or 'none'} came; send {', '.join(expected)}, each once")
    raw = request.raw_input_contents
    if raw and len(raw) != len(names):
        raise invalid("raw_input_contents", f"{len(raw)} came for {len(names)} inputs; send one for each, or none")
    return {
        tensor.name: _read(tensor, raw[index] if raw else None, expected[tensor.name])
        for index, tensor in enumerate(request.inputs)
    }


def write_outputs(
    response: oip.ModelInferResponse, outputs: Mapping[str, Array], specs: Sequence[TensorSpec], *, raw: bool
) -> None:
    """Add the outputs to a response, as raw bytes or as typed contents."""
    for spec in specs:
        array = outputs[spec.name]
        tensor = response.outputs.add(name=spec.name, datatype=spec.datatype, shape=array.shape)
        if raw:
            response.raw_output_contents.append(_to_raw(array, spec.datatype))
        else:
            getattr(tensor.contents, _CONTENTS[spec.datatype]).extend(array.ravel().tolist())


def _read(tensor: oip.ModelInferRequest.InferInputTensor, raw: bytes | None, spec: TensorSpec) -> Array:
    where = f"input {spec.name}"
    shape = tuple(tensor.shape)
    if tensor.datatype != spec.datatype:
        raise invalid(where, f"datatype {tensor.datatype} came; send {spec.datatype}")
    fits = len(shape) == len(spec.shape) and all(
        want in (-1, have) for have, want in zip(shape, spec.shape, strict=True)
    )
    if not fits or any(length < 1 for length in shape):
        raise invalid(where, f"shape {list(shape)} came; send {list(spec.shape)}, where -1 is any length above 0")
    array = _from_contents(tensor, where) if raw is None else _from_raw(raw, spec.datatype, where)
    if array.size != math.prod(shape):
        raise invalid(where, f"shape {list(shape)} needs {math.prod(shape)} values, {array.size} came")
    return array.reshape(shape)


def _from_contents(tensor: oip.ModelInferRequest.InferInputTensor, where: str) -> Array:
    values = getattr(tensor.contents, _CONTENTS[tensor.datatype])
    try:
        return np.array(values, dtype=_DTYPES[tensor.datatype])
    except OverflowError:
        raise invalid(where, f"a value does not fit into {tensor.datatype}") from None


def _from_raw(raw: bytes, datatype: str, where: str) -> Array:
    if datatype == "BYTES":
        return np.array(list(_elements(raw, where)), dtype=object)
    dtype = _DTYPES[datatype]
    if len(raw) % dtype.itemsize:
        raise invalid(where, f"{len(raw)} bytes came, which is no whole number of {datatype} values")
    return np.frombuffer(raw, dtype)


def _elements(raw: bytes, where: str) -> Iterator[bytes]:
    position = 0
    while position < len(raw):
        begin = position + 4
        position = begin + int.from_bytes(raw[position:begin], "little")
        if position > len(raw):
            raise invalid(where, "an element is longer than the bytes that came; precede each by its length (uint32)")
        yield raw[begin:position]


def _to_raw(array: Array, datatype: str) -> bytes:
    if datatype == "BYTES":
        return b"".join(len(element).to_bytes(4, "little") + element for element in array.ravel())
    return np.ascontiguousarray(array, dtype=_DTYPES[datatype]).tobytes()
