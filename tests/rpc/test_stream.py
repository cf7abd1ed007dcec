"""Streams of planes: what is sent comes out, and a stream that does not add up never passes as a shorter study."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.rpc import stream
from hulumed_platform.rpc.stream import Plane, PlaneReader, chunks
from hulumed_platform.rpc.v1 import media_pb2, stage_pb2, tensor_pb2

ROW_WIDTH = 6


def header(num_planes: int, *, height: int = 4, width: int = 6, merge: int = 2) -> stage_pb2.StageMessage:
    item = media_pb2.Item(
        height=height, width=width, merge=merge, planes=[media_pb2.PlaneSource(index=i) for i in range(num_planes)]
    )
    return stage_pb2.StageMessage(
        header=stage_pb2.StreamHeader(items=[item], dtype=tensor_pb2.DTYPE_UINT8, row_width=ROW_WIDTH)
    )


def plane(index: int, rows: int = 24) -> Plane:
    values = np.random.default_rng(index).integers(0, 256, (rows, ROW_WIDTH), np.uint8)
    return Plane(0, index, values, novelty=np.full(6, index, np.float32))


def messages(num_planes: int) -> list[stage_pb2.StageMessage]:
    body = [chunk for i in range(num_planes) for chunk in chunks(plane(i), tensor_pb2.DTYPE_UINT8)]
    trailer = stage_pb2.StreamTrailer(planes=num_planes, rows=24 * num_planes)
    return [header(num_planes), *body, stage_pb2.StageMessage(trailer=trailer)]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHUNK_BYTES", 40)


def test_planes_come_out_as_they_went_in(small_chunks: None) -> None:
    """A plane larger than a chunk is cut by rows and put together again."""
    sent = messages(3)
    assert len(sent) > 3 + 2
    reader = PlaneReader(sent, "ingest")
    for index, received in enumerate(reader):
        np.testing.assert_array_equal(received.rows, plane(index).rows)
        np.testing.assert_array_equal(received.novelty, plane(index).novelty)
    assert reader.trailer is not None


def test_chunks_stay_below_the_limit() -> None:
    """gRPC refuses messages over its limit: an image of 16,384 patches has to be cut."""
    image = Plane(0, 0, np.zeros((16384, 588), np.uint8))
    sizes = [message.ByteSize() for message in chunks(image, tensor_pb2.DTYPE_UINT8)]
    assert len(sizes) == 5
    assert max(sizes) < stream.CHUNK_BYTES + 1024


def test_plane_with_no_kept_row_still_travels() -> None:
    """The rule keeps at least one token, but a stream must not lose a plane if a rule ever keeps none."""
    empty = Plane(0, 0, np.zeros((0, ROW_WIDTH), np.uint8), kept=np.zeros(6, np.bool_))
    trailer = stage_pb2.StageMessage(trailer=stage_pb2.StreamTrailer(planes=1, rows=0))
    (received,) = PlaneReader([header(1), *chunks(empty, tensor_pb2.DTYPE_UINT8), trailer], "compressor")
    assert received.rows.shape == (0, ROW_WIDTH)


@given(st.data())
def test_stream_with_a_lost_doubled_or_swapped_message_is_refused(data: st.DataObject) -> None:
    """Whatever goes missing or out of order on the way, the receiver notices."""
    sent = messages(4)
    at = data.draw(st.integers(0, len(sent) - 2), label="at")
    damaged = data.draw(
        st.sampled_from(
            [
                sent[:at] + sent[at + 1 :],
                sent[: at + 1] + sent[at:],
                [*sent[:at], sent[at + 1], sent[at], *sent[at + 2 :]],
                sent[: at + 1],
                [*sent, sent[at]],
            ]
        ),
        label="damaged",
    )
    with pytest.raises(PlatformError, match="stream is broken"):
        list(PlaneReader(damaged, "ingest"))


def test_wrong_counts_in_the_trailer_are_refused() -> None:
    """The trailer is the sender's own account; where it differs, something was lost."""
    sent = messages(2)
    sent[-1].trailer.rows -= 1
    with pytest.raises(PlatformError, match="the trailer counts 2 planes and 47 rows, 2 and 48 came"):
        list(PlaneReader(sent, "ingest"))


def test_kept_mask_must_agree_with_the_rows() -> None:
    """Evidence that marks five patches must go with five embeddings."""
    kept = np.array([1, 1, 1, 1, 1, 0], np.bool_)
    wrong = Plane(0, 0, np.zeros((4, ROW_WIDTH), np.uint8), kept=kept)
    with pytest.raises(PlatformError, match="4 rows instead of"):
        list(PlaneReader([header(1), *chunks(wrong, tensor_pb2.DTYPE_UINT8)], "compressor"))


def test_planes_are_read_one_by_one() -> None:
    """The reader pulls a message only when a plane is asked for: flow control reaches the sender."""
    pulled = 0

    def counted() -> Iterator[stage_pb2.StageMessage]:
        nonlocal pulled
        for message in messages(5):
            pulled += 1
            yield message

    reader = PlaneReader(counted(), "ingest")
    next(iter(reader))
    assert pulled == 2
