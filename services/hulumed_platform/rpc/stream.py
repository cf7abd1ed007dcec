"""A stage's stream of planes: written as chunks by the sender, checked and put together again by the receiver.

A message carries rows of one plane only: a plane is the unit in which the stages overlap, and most planes are far below
the chunk limit. Larger ones (an image of 16,384 tokens is 9.6 MB of patches) are split by rows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.rpc import codec
from hulumed_platform.rpc.v1 import stage_pb2, tensor_pb2

CHUNK_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Plane:
    """One whole plane of a stream.

    Attributes:
        item: Index of the visual item in the header.
        plane: Index of the plane in the item.
        rows: [rows, row_width] patches, features, or embeddings of kept tokens; bfloat16 as uint16 bits.
        novelty: float32 [tokens]; None below the compressor.
        kept: bool [tokens]; only below the compressor.
    """

    item: int
    plane: int
    rows: NDArray[np.generic]
    novelty: NDArray[np.float32] | None = None
    kept: NDArray[np.bool_] | None = None


def chunks(plane: Plane, dtype: tensor_pb2.DType.ValueType) -> Iterator[stage_pb2.StageMessage]:
    """Cut one plane into messages of at most about `CHUNK_BYTES`."""
    row_bytes = max(1, plane.rows.shape[1] * codec.NUMPY_DTYPES[dtype].itemsize)
    step = max(1, CHUNK_BYTES // row_bytes)
    total = plane.rows.shape[0]
    for first in range(0, max(total, 1), step):
        chunk = stage_pb2.PlaneChunk(
            item=plane.item,
            plane=plane.plane,
            first_row=first,
            rows=codec.encode(plane.rows[first : first + step], dtype),
            last=first + step >= total,
        )
        if first == 0 and plane.novelty is not None:
            chunk.novelty.CopyFrom(codec.encode(plane.novelty, tensor_pb2.DTYPE_FLOAT32))
        if first == 0 and plane.kept is not None:
            chunk.kept_bits = codec.pack_bits(plane.kept)
        yield stage_pb2.StageMessage(chunk=chunk)


class PlaneReader:
    """Reads a stage's stream: the header at once, then planes, then the trailer.

    Everything that comes is checked against the header: order, row counts, shapes, and the trailer's counts. A stream
    that ends early or does not add up raises; it never passes as a shorter study.
    """

    def __init__(self, messages: Iterable[stage_pb2.StageMessage], stage: str) -> None:
        self._messages = iter(messages)
        self._stage = stage
        first = next(self._messages, None)
        if first is None or first.WhichOneof("message") != "header":
            raise self._broken("the stream does not begin with a header")
        self.header: stage_pb2.StreamHeader = first.header
        self.trailer: stage_pb2.StreamTrailer | None = None
        self._planes = 0
        self._rows = 0

    def __iter__(self) -> Iterator[Plane]:
        for item_index, item in enumerate(self.header.items):
            tokens = item.height * item.width // item.merge**2
            for plane_index in range(len(item.planes)):
                yield self._read_plane(item_index, plane_index, tokens)
        self._read_trailer()

    def _read_plane(self, item: int, plane: int, tokens: int) -> Plane:
        parts: list[NDArray[np.generic]] = []
        novelty: NDArray[np.float32] | None = None
        kept: NDArray[np.bool_] | None = None
        num_rows = 0
        while True:
            chunk = self._next_chunk(item, plane, num_rows)
            rows = codec.decode(chunk.rows, shape=(None, self.header.row_width))
            if chunk.HasField("novelty"):
                novelty = codec.decode(chunk.novelty, shape=(tokens,)).astype(np.float32, copy=False)
            if chunk.kept_bits:
                kept = codec.unpack_bits(chunk.kept_bits, tokens)
            parts.append(rows)
            num_rows += len(rows)
            if chunk.last:
                break
        self._planes += 1
        self._rows += num_rows
        self._check_rows(item, plane, num_rows, kept)
        return Plane(item, plane, parts[0] if len(parts) == 1 else np.concatenate(parts), novelty, kept)

    def _check_rows(self, item: int, plane: int, num_rows: int, kept: NDArray[np.bool_] | None) -> None:
        shape = self.header.items[item]
        patches = shape.height * shape.width
        allowed = {int(kept.sum())} if kept is not None else {patches, patches // shape.merge**2}
        if num_rows not in allowed:
            raise self._broken(f"plane {plane} of item {item} has {num_rows} rows instead of {sorted(allowed)}")

    def _next_chunk(self, item: int, plane: int, first_row: int) -> stage_pb2.PlaneChunk:
        message = next(self._messages, None)
        if message is None or message.WhichOneof("message") != "chunk":
            raise self._broken(f"the stream ends before plane {plane} of item {item}")
        chunk = message.chunk
        if (chunk.item, chunk.plane, chunk.first_row) != (item, plane, first_row):
            raise self._broken(f"plane {plane} of item {item} is out of order")
        if chunk.rows.dtype != self.header.dtype:
            raise self._broken(f"plane {plane} of item {item} has another dtype than the header says")
        return chunk

    def _read_trailer(self) -> None:
        """Reads to the end of the call: a sender that is left before counts it as cancelled, and may yet fail."""
        message = next(self._messages, None)
        if message is None or message.WhichOneof("message") != "trailer":
            raise self._broken("the stream ends without its trailer")
        trailer = message.trailer
        if (trailer.planes, trailer.rows) != (self._planes, self._rows):
            raise self._broken(
                f"the trailer counts {trailer.planes} planes and {trailer.rows} rows, "
                f"{self._planes} and {self._rows} came"
            )
        if next(self._messages, None) is not None:
            raise self._broken("something follows the trailer")
        self.trailer = trailer

    def _broken(self, reason: str) -> PlatformError:
        return PlatformError(ErrorCode.UNAVAILABLE, f"the {self._stage} stream is broken: {reason}; try again")
