"""EncoderService: protobuf in, protobuf out."""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import grpc
import numpy as np

from hulumed_platform.encoder.batching import Batcher, Encoded, Grid
from hulumed_platform.model.digests import Digests
from hulumed_platform.rpc.caller import Caller
from hulumed_platform.rpc.clients import PlaneStream, StageClient
from hulumed_platform.rpc.meter import StageMeter
from hulumed_platform.rpc.prefetch import Prefetch
from hulumed_platform.rpc.server import Loaded
from hulumed_platform.rpc.stage import answer, check_digest, content_key
from hulumed_platform.rpc.stream import Plane
from hulumed_platform.rpc.torch_codec import to_array
from hulumed_platform.rpc.v1 import room_pb2, stage_pb2, stage_pb2_grpc, tensor_pb2


@dataclass(frozen=True, slots=True)
class EncoderCore:
    """What the room has once its weights are in."""

    batcher: Batcher
    digests: Digests
    description: room_pb2.RoomDescription
    dtype: tensor_pb2.DType.ValueType
    row_width: int


class EncoderService(stage_pb2_grpc.EncoderServiceServicer):
    """Streams the features of the planes that ingest streams."""

    def __init__(
        self, core: Loaded[EncoderCore], ingest: StageClient, *, planes_in_flight: int, request_timeout_s: float
    ) -> None:
        self._core = core
        self._ingest = ingest
        self._planes_in_flight = planes_in_flight
        self._request_timeout_s = request_timeout_s

    def Plan(self, request: stage_pb2.StageRequest, context: grpc.ServicerContext) -> stage_pb2.PlanResponse:
        core = self._core.get()
        check_digest("checkpoint of the caller", theirs=request.checkpoint_digest, ours=core.digests.checkpoint)
        caller = Caller(context, self._request_timeout_s)
        return self._ingest.plan(request, timeout_s=caller.remaining_s(), on_leave=caller.on_leave)

    def Encode(
        self, request: stage_pb2.StageRequest, context: grpc.ServicerContext
    ) -> Iterator[stage_pb2.StageMessage]:
        core = self._core.get()
        check_digest("checkpoint of the caller", theirs=request.checkpoint_digest, ours=core.digests.checkpoint)
        caller = Caller(context, self._request_timeout_s)
        with StageMeter(core.description) as meter:
            with meter.waiting():
                stream = self._ingest.stream(request, timeout_s=caller.remaining_s(), on_leave=caller.on_leave)
            queued = _queued(core.batcher, stream, caller)
            with stream, Prefetch(queued, self._planes_in_flight, stop=stream.cancel) as ahead:
                planes = _encoded(meter.awaited(ahead), meter)
                yield from answer(_header(core, stream.header), planes, meter, lambda: stream.trailer.stages)


def _queued(batcher: Batcher, stream: PlaneStream, caller: Caller) -> Iterator[tuple[Plane, Future[Encoded]]]:
    """Every plane with the promise of its features; runs ahead of those who wait for them."""
    for plane in stream:
        item = stream.header.items[plane.item]
        patches = plane.rows.view(np.uint8)
        yield plane, batcher.submit(patches, Grid(item.height, item.width, item.merge), caller.gone)


def _encoded(queued: Iterator[tuple[Plane, Future[Encoded]]], meter: StageMeter) -> Iterator[Plane]:
    for plane, promise in queued:
        encoded = promise.result()
        meter.busy_s += encoded.busy_s
        meter.came_in(len(plane.rows))
        yield Plane(plane.item, plane.plane, to_array(encoded.features), plane.novelty)


def _header(core: EncoderCore, before: stage_pb2.StreamHeader) -> stage_pb2.StreamHeader:
    header = stage_pb2.StreamHeader()
    header.CopyFrom(before)
    header.content_key = content_key(before.content_key, core.digests.encoder, core.description.dtype)
    header.dtype = core.dtype
    header.row_width = core.row_width
    header.checkpoint_digest = core.digests.checkpoint
    header.encoder_digest = core.digests.encoder
    return header
