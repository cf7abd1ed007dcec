"""IngestService: protobuf in, protobuf out."""

from collections.abc import Iterator
from contextlib import ExitStack

import grpc

from hulumed_platform.imaging.prepare import PREPROCESSING_VERSION, Preparation
from hulumed_platform.imaging.types import PATCH_DIM
from hulumed_platform.ingest.preparation import Preparer, StoredFile, StoredMedia, count_kept
from hulumed_platform.model.compression import KeepRule
from hulumed_platform.rpc import convert
from hulumed_platform.rpc.caller import Caller
from hulumed_platform.rpc.meter import StageMeter
from hulumed_platform.rpc.prefetch import Prefetch
from hulumed_platform.rpc.stage import answer, content_key
from hulumed_platform.rpc.stream import Plane
from hulumed_platform.rpc.v1 import media_pb2, room_pb2, stage_pb2, stage_pb2_grpc, tensor_pb2

_PLANES_AHEAD = 4
"""Planes that are decoded while the one before is being sent; bounds memory."""

_MAX_LABEL = 64


class IngestService(stage_pb2_grpc.IngestServiceServicer):
    """Streams the planes of a request, or counts their tokens."""

    def __init__(self, preparer: Preparer, room: room_pb2.RoomDescription, request_timeout_s: float) -> None:
        self._preparer = preparer
        self._room = room
        self._request_timeout_s = request_timeout_s

    def Plan(self, request: stage_pb2.StageRequest, context: grpc.ServicerContext) -> stage_pb2.PlanResponse:
        caller = Caller(context, self._request_timeout_s)
        rule = convert.keep_rule_from_wire(request.keep)
        media = _media(request)
        remaining_s = caller.remaining_s()
        with self._preparer.open(request.tenant, media, timeout_s=remaining_s, gone=caller.gone) as preparation:
            return _plan_response(preparation, count_kept(preparation, rule, caller.gone))

    def Prepare(
        self, request: stage_pb2.StageRequest, context: grpc.ServicerContext
    ) -> Iterator[stage_pb2.StageMessage]:
        caller = Caller(context, self._request_timeout_s)
        rule = convert.keep_rule_from_wire(request.keep)
        media = _media(request)
        key = content_key(*self._preparer.key_parts(request.tenant, media))
        opened = self._preparer.open(request.tenant, media, timeout_s=caller.remaining_s(), gone=caller.gone)
        with StageMeter(self._room) as meter, ExitStack() as stack:
            with meter.busy():
                preparation = stack.enter_context(opened)
            planes = stack.enter_context(Prefetch(meter.worked(_planes(preparation)), _PLANES_AHEAD))
            yield from answer(_header(key, preparation, rule), planes, meter)


def _planes(preparation: Preparation) -> Iterator[Plane]:
    for plane in preparation.planes():
        yield Plane(plane.item, plane.plane, plane.patches, plane.novelty)


def _header(key: str, preparation: Preparation, rule: KeepRule) -> stage_pb2.StreamHeader:
    return stage_pb2.StreamHeader(
        content_key=key,
        preprocessing_version=PREPROCESSING_VERSION,
        items=[convert.item_to_wire(item) for item in preparation.items],
        left_out=[convert.left_out_to_wire(left_out) for left_out in preparation.left_out],
        dtype=tensor_pb2.DTYPE_UINT8,
        row_width=PATCH_DIM,
        keep=convert.keep_rule_to_wire(rule),
    )


def _plan_response(preparation: Preparation, kept: list[list[int]]) -> stage_pb2.PlanResponse:
    response = stage_pb2.PlanResponse(
        left_out=[convert.left_out_to_wire(left_out) for left_out in preparation.left_out],
        visual_tokens_before=sum(item.num_planes * item.tokens_per_plane for item in preparation.items),
        visual_tokens_after=sum(map(sum, kept)),
        preprocessing_version=PREPROCESSING_VERSION,
    )
    for item, counts in zip(preparation.items, kept, strict=True):
        wire = convert.item_to_wire(item)
        wire.kept.extend(counts)
        response.items.append(wire)
    return response


def _media(request: stage_pb2.StageRequest) -> list[StoredMedia]:
    if not request.media:
        raise convert.invalid("media", "there is none; name at least one medium")
    return [_medium(medium, f"media[{index}]") for index, medium in enumerate(request.media)]


def _medium(medium: media_pb2.MediaRef, where: str) -> StoredMedia:
    if not medium.objects:
        raise convert.invalid(f"{where}.objects", "there is none; name at least one stored object")
    total = len(medium.objects)
    files = tuple(
        StoredFile(ref.digest, _label(ref.label) or f"{where}, file {index} of {total}")
        for index, ref in enumerate(medium.objects, start=1)
    )
    return StoredMedia(
        files, convert.kind_from_wire(medium.kind, where), convert.options_from_wire(medium.options, where)
    )


def _label(label: str) -> str:
    """The label as far as it may stand in a message."""
    return "".join(character for character in label if character.isprintable())[:_MAX_LABEL]
