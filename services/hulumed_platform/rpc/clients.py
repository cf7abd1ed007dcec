"""One typed client a stage. Every call has a deadline; failures come back as PlatformError."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias, TypeVar

import grpc

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.rpc import errors
from hulumed_platform.rpc.stream import CHUNK_BYTES, Plane, PlaneReader
from hulumed_platform.rpc.tracing import TracingInterceptor
from hulumed_platform.rpc.v1 import (
    decoder_pb2,
    decoder_pb2_grpc,
    room_pb2,
    room_pb2_grpc,
    stage_pb2,
    stage_pb2_grpc,
)

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""Above the largest chunk and above the evidence of a study of some thousand planes."""

KEEPALIVE_MS = 30_000
"""How often a client with a running call makes sure that the server is still there."""

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A headless Service has one address a pod: the client spreads its calls over them.
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.http2.max_pings_without_data", 0),
    # What a slow reader lets come ahead is fixed; left to itself gRPC grows it to many megabytes a stream.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", CHUNK_BYTES),
)

_Message = TypeVar("_Message")
_Message_co = TypeVar("_Message_co", covariant=True)
_Reply = TypeVar("_Reply")


_Reply_co = TypeVar("_Reply_co", covariant=True)

OnLeave: TypeAlias = Callable[[Callable[[], object]], object]
"""Takes what is to be done when nobody waits for a call any more, e.g. `Caller.on_leave`."""


class UnaryCall(Protocol[_Reply_co]):
    """A running call of gRPC that answers with one message."""

    def result(self) -> _Reply_co: ...

    def cancel(self) -> object: ...


class UnaryMethod(Protocol[_Reply_co]):
    """A method of a stub that answers with one message."""

    def future(self, request: Any, timeout: float) -> UnaryCall[_Reply_co]: ...


def _nobody_leaves(_cancel: Callable[[], object]) -> None:
    """For callers that stay until the answer is there, or cancel by themselves."""


class StreamCall(Protocol[_Message_co]):
    """A running call of gRPC that answers with a stream."""

    def __iter__(self) -> Iterator[_Message_co]: ...

    def cancel(self) -> object: ...


_NOWHERE = "unix:/dev/null"
"""Where nobody can listen."""


def open_channel(address: str) -> grpc.Channel:
    """A channel that passes the trace on.

    Args:
        address: `host:port` or `dns:///service:port`; empty = no such room, so every call fails as UNAVAILABLE.
    """
    channel = grpc.insecure_channel(address or _NOWHERE, options=_CHANNEL_OPTIONS)
    return grpc.intercept_channel(channel, TracingInterceptor())


class PlaneStream:
    """A running stage call: the header is in, planes follow. Leaving it early cancels the whole chain above."""

    def __init__(self, call: StreamCall[stage_pb2.StageMessage], stage: str) -> None:
        self._call = call
        self._stage = stage
        try:
            self._reader = PlaneReader(translated(call, stage), stage)
        except BaseException:
            call.cancel()
            raise

    @property
    def header(self) -> stage_pb2.StreamHeader:
        return self._reader.header

    @property
    def trailer(self) -> stage_pb2.StreamTrailer:
        """The trailer; only after the last plane was read."""
        assert self._reader.trailer is not None
        return self._reader.trailer

    def __iter__(self) -> Iterator[Plane]:
        return iter(self._reader)

    def cancel(self) -> None:
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()


class StageClient:
    """Client of ingest, encoder or compressor; the three speak alike."""

    def __init__(self, channel: grpc.Channel, stage: str) -> None:
        self._stage = stage
        self._plan, self._stream = _methods(channel, stage)

    def plan(
        self, request: stage_pb2.StageRequest, *, timeout_s: float, on_leave: OnLeave = _nobody_leaves
    ) -> stage_pb2.PlanResponse:
        return unary(self._plan, request, timeout_s=timeout_s, stage=self._stage, on_leave=on_leave)

    def stream(
        self, request: stage_pb2.StageRequest, *, timeout_s: float, on_leave: OnLeave = _nobody_leaves
    ) -> PlaneStream:
        """Start the stage and wait for its header.

        Args:
            request: What to stream.
            timeout_s: Deadline of the whole stream.
            on_leave: Is given what cancels the call, before the header is waited for.

        Raises:
            PlatformError: What the stage, or one before it, has to say.
        """
        call = self._stream(request, timeout=timeout_s)
        on_leave(call.cancel)
        return PlaneStream(call, self._stage)


def _methods(
    channel: grpc.Channel, stage: str
) -> tuple[UnaryMethod[stage_pb2.PlanResponse], Callable[..., StreamCall[stage_pb2.StageMessage]]]:
    if stage == "ingest":
        ingest = stage_pb2_grpc.IngestServiceStub(channel)
        return ingest.Plan, ingest.Prepare
    if stage == "encoder":
        encoder = stage_pb2_grpc.EncoderServiceStub(channel)
        return encoder.Plan, encoder.Encode
    compressor = stage_pb2_grpc.CompressorServiceStub(channel)
    return compressor.Plan, compressor.Compress


class DecoderClient:
    """Client of the decoder: plans and generates."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = decoder_pb2_grpc.DecoderServiceStub(channel)

    def plan(
        self, request: decoder_pb2.GenerateRequest, *, timeout_s: float, on_leave: OnLeave = _nobody_leaves
    ) -> stage_pb2.PlanResponse:
        return unary(self._stub.Plan, request, timeout_s=timeout_s, stage="decoder", on_leave=on_leave)

    def generate(self, request: decoder_pb2.GenerateRequest, *, timeout_s: float) -> "GenerateStream":
        """Start to generate; iterate the result for events."""
        return GenerateStream(self._stub.Generate(request, timeout=timeout_s))


class GenerateStream:
    """Events of a running answer. `cancel` may be called from any thread; it frees all four stages."""

    def __init__(self, call: StreamCall[decoder_pb2.GenerateResponse]) -> None:
        self._call = call

    def __iter__(self) -> Iterator[decoder_pb2.GenerateResponse]:
        return translated(self._call, "decoder")

    def cancel(self) -> None:
        self._call.cancel()


class RoomClient:
    """Asks any gRPC room what it is."""

    def __init__(self, channel: grpc.Channel, room: str) -> None:
        self._stub = room_pb2_grpc.RoomServiceStub(channel)
        self._room = room

    def describe(self, *, timeout_s: float) -> room_pb2.RoomDescription:
        return unary(self._stub.Describe, room_pb2.DescribeRequest(), timeout_s=timeout_s, stage=self._room)


def unary(
    method: UnaryMethod[_Reply],
    request: object,
    *,
    timeout_s: float,
    stage: str,
    on_leave: OnLeave = _nobody_leaves,
) -> _Reply:
    """One unary call with a deadline, its failure as PlatformError; `on_leave` is given what cancels it."""
    call = method.future(request, timeout=timeout_s)
    on_leave(call.cancel)
    try:
        return call.result()
    except grpc.FutureCancelledError:
        raise PlatformError(ErrorCode.CANCELLED, "the request was cancelled") from None
    except grpc.RpcError as error:
        raise errors.from_call(error, stage) from None  # type: ignore[arg-type]


def translated(call: StreamCall[_Message], stage: str) -> Iterator[_Message]:
    """The messages of a stream; its failure as PlatformError."""
    try:
        yield from call
    except grpc.RpcError as error:
        raise errors.from_call(error, stage) from None  # type: ignore[arg-type]
