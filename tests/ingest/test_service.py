"""IngestService refuses what it cannot mean, with the field and the remedy."""

from collections.abc import Callable
from typing import Any

import pytest

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.rpc.v1 import media_pb2, stage_pb2
from tests.support.chain import TENANT, Chain

DIGEST = f"sha256:{'0' * 64}"


def request(**medium: Any) -> stage_pb2.StageRequest:
    objects = medium.pop("objects", [media_pb2.ObjectRef(digest=DIGEST)])
    return stage_pb2.StageRequest(tenant=TENANT, media=[media_pb2.MediaRef(objects=objects, **medium)])


def changed(change: Callable[[stage_pb2.StageRequest], object]) -> stage_pb2.StageRequest:
    message = request()
    change(message)
    return message


@pytest.mark.parametrize(
    ("message", "words", "code"),
    [
        (stage_pb2.StageRequest(tenant=TENANT), "media: there is none", ErrorCode.INVALID_INPUT),
        (request(objects=[]), r"media\[0\].objects: there is none", ErrorCode.INVALID_INPUT),
        (request(kind=9), r"media\[0\].kind: 9 is unknown", ErrorCode.INVALID_INPUT),
        (request(options={"axis": 9}), r"media\[0\].options.axis", ErrorCode.INVALID_INPUT),
        (request(options={"preprocessing": 9}), "use hulumed or upstream", ErrorCode.INVALID_INPUT),
        (request(), "is stored; upload it", ErrorCode.NOT_FOUND),
        (request(objects=[{"digest": "../../etc/passwd"}]), "Malformed object digest", ErrorCode.INVALID_INPUT),
        (changed(lambda m: setattr(m, "tenant", "../other")), "Malformed tenant", ErrorCode.INVALID_INPUT),
        (changed(lambda m: setattr(m.keep, "policy", 9)), "keep.policy: 9", ErrorCode.INVALID_INPUT),
        (changed(lambda m: setattr(m.keep, "threshold", float("nan"))), "keep.threshold", ErrorCode.INVALID_INPUT),
        (changed(lambda m: setattr(m.keep, "min_tokens", 0)), "keep.min_tokens", ErrorCode.INVALID_INPUT),
    ],
)
def test_requests_that_cannot_be_meant_are_refused(
    chain: Chain, message: stage_pb2.StageRequest, words: str, code: ErrorCode
) -> None:
    """Plan and stream refuse alike."""
    client = chain.stage("ingest")
    for call in (client.plan, client.stream):
        with pytest.raises(PlatformError, match=words) as caught:
            call(message, timeout_s=10)
        assert caught.value.code is code


def test_file_names_do_not_reach_messages_whole(chain: Chain) -> None:
    """A label is shown as far as it is printable and short."""
    (ref,) = chain.store(b"neither picture nor film")
    ref.label = "line\nbreak " + "x" * 500
    with pytest.raises(PlatformError) as caught:
        chain.stage("ingest").plan(request(objects=[ref]), timeout_s=10)
    assert "\n" not in caught.value.message
    assert "x" * 100 not in caught.value.message
