"""CompressorService: protobuf in, protobuf out."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import grpc

from hulumed_platform.compressor.compression import Compressor
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.model.compression import KeepRule
from hulumed_platform.model.digests import Digests
from hulumed_platform.rpc import convert
from hulumed_platform.rpc.caller import Caller
from hulumed_platform.rpc.clients import StageClient
from hulumed_platform.rpc.meter import StageMeter
from hulumed_platform.rpc.prefetch import Prefetch
from hulumed_platform.rpc.server import Loaded
from hulumed_platform.rpc.stage import answer, check_digest, content_key
from hulumed_platform.rpc.stream import Plane
from hulumed_platform.rpc.torch_codec import to_array, to_tensor
from hulumed_platform.rpc.v1 import room_pb2, stage_pb2, stage_pb2_grpc, tensor_pb2


@dataclass(frozen=True, slots=True)
class CompressorCore:
    """What the room has once its weights are in."""

    compressor: Compressor
    digests: Digests
    description: room_pb2.RoomDescription
    dtype: tensor_pb2.DType.ValueType
    in_features: int
    row_width: int


class CompressorService(stage_pb2_grpc.CompressorServiceServicer):
    """Streams the embeddings of the tokens worth keeping of the features that the encoder streams."""

    def __init__(
        self, core: Loaded[CompressorCore], encoder: StageClient, *, planes_ahead: int, request_timeout_s: float
    ) -> None:
        self._core = core
        self._encoder = encoder
        self._planes_ahead = planes_ahead
        self._request_timeout_s = request_timeout_s

    def Plan(self, request: stage_pb2.StageRequest, context: grpc.ServicerContext) -> stage_pb2.PlanResponse:
        core = self._core.get()
        check_digest("checkpoint of the caller", theirs=request.checkpoint_digest, ours=core.digests.checkpoint)
        caller = Caller(context, self._request_timeout_s)
        return self._encoder.plan(request, timeout_s=caller.remaining_s(), on_leave=caller.on_leave)

    def Compress(
        self, request: stage_pb2.StageRequest, context: grpc.ServicerContext
    ) -> Iterator[stage_pb2.StageMessage]:
        core = self._core.get()
        check_digest("checkpoint of the caller", theirs=request.checkpoint_digest, ours=core.digests.checkpoint)
        rule = convert.keep_rule_from_wire(request.keep)
        caller = Caller(context, self._request_timeout_s)
        with StageMeter(core.description) as meter:
            with meter.waiting():
                stream = self._encoder.stream(request, timeout_s=caller.remaining_s(), on_leave=caller.on_leave)
            with stream, Prefetch(stream, self._planes_ahead, stop=stream.cancel) as ahead:
                header = _header(core, stream.header, rule)
                planes = _compressed(core, meter.awaited(ahead), stream.header, rule, meter)
                yield from answer(header, planes, meter, lambda: stream.trailer.stages)


def _compressed(
    core: CompressorCore,
    planes: Iterable[Plane],
    header: stage_pb2.StreamHeader,
    rule: KeepRule,
    meter: StageMeter,
) -> Iterator[Plane]:
    for plane in planes:
        if plane.novelty is None:
            raise PlatformError(
                ErrorCode.UNAVAILABLE, "the encoder stream is broken: a plane has no novelty; try again"
            )
        item = header.items[plane.item]
        meter.came_in(len(plane.rows))
        with meter.busy():
            embeddings, kept = core.compressor.compress(
                to_tensor(plane.rows, header.dtype),
                plane.novelty,
                rule,
                plane=plane.plane,
                num_planes=len(item.planes),
                compressible=convert.is_compressible(item),
            )
        yield Plane(plane.item, plane.plane, to_array(embeddings), kept=kept)


def _header(core: CompressorCore, before: stage_pb2.StreamHeader, rule: KeepRule) -> stage_pb2.StreamHeader:
    """The header of our stream, once the weights behind the one before are known to be those of our checkpoint."""
    check_digest("checkpoint of the encoder", theirs=before.checkpoint_digest, ours=core.digests.checkpoint)
    check_digest("weights of the encoder", theirs=before.encoder_digest, ours=core.digests.encoder)
    header = stage_pb2.StreamHeader()
    header.CopyFrom(before)
    header.content_key = content_key(before.content_key, core.digests.projector, core.description.dtype, asdict(rule))
    header.dtype = core.dtype
    header.row_width = core.row_width
    header.keep.CopyFrom(convert.keep_rule_to_wire(rule))
    header.checkpoint_digest = core.digests.checkpoint
    header.projector_digest = core.digests.projector
    return header
