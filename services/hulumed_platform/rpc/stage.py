"""What the stages of the chain have in common: the shape of their answer, content keys, and the check of weights."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.rpc.meter import StageMeter
from hulumed_platform.rpc.stream import Plane, chunks
from hulumed_platform.rpc.v1 import stage_pb2


def answer(
    header: stage_pb2.StreamHeader,
    planes: Iterable[Plane],
    meter: StageMeter,
    reports_before: Callable[[], Iterable[stage_pb2.StageReport]] = tuple,
) -> Iterator[stage_pb2.StageMessage]:
    """A stage's stream: header, planes in chunks as they come, trailer with counts and reports.

    `reports_before` is asked after the last plane: the stage before says what it did in its own trailer.
    """
    yield stage_pb2.StageMessage(header=header)
    for plane in planes:
        meter.went_out(plane)
        yield from chunks(plane, header.dtype)
    reports = [*reports_before(), meter.report()]
    trailer = stage_pb2.StreamTrailer(planes=meter.planes, rows=meter.rows_out, stages=reports)
    yield stage_pb2.StageMessage(trailer=trailer)


def content_key(*parts: object) -> str:
    """`sha256:<hex>` over all that a result depends on; the parts are anything that JSON can say."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def check_digest(what: str, *, theirs: str, ours: str) -> None:
    """Refuse to work with a part of another checkpoint.

    Args:
        what: Whose digest it is, e.g. "checkpoint of the caller".
        theirs: What the other room says; a caller without weights of its own, as a tool, says nothing.
        ours: What the checkpoint of this room says.

    Raises:
        PlatformError: WEIGHTS_MISMATCH.
    """
    if theirs and theirs != ours:
        raise PlatformError(
            ErrorCode.WEIGHTS_MISMATCH,
            f"{what}: {theirs} there, {ours} here; start encoder, compressor and decoder from the same checkpoint",
        )
