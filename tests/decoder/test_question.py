"""What a caller may ask, and how it is told what it may not."""

from collections.abc import Callable

import pytest

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.decoder.question import read_question
from hulumed_platform.model.prompt import MediaPart, TextPart
from hulumed_platform.rpc.v1 import decoder_pb2, media_pb2
from tests.support.chain import Chain
from tests.support.questions import hear, question

Change = Callable[[decoder_pb2.GenerateRequest], object]


def two_media() -> decoder_pb2.GenerateRequest:
    """A message with two media and a text."""
    return question(media_pb2.MediaRef(), media_pb2.MediaRef(), "What is this?")


WRONG: dict[str, tuple[Change, str]] = {
    "tenant": (lambda r: setattr(r, "tenant", "A/B"), "Malformed tenant"),
    "no messages": (lambda r: r.ClearField("messages"), "messages: there is none"),
    "no parts": (lambda r: r.messages[0].ClearField("parts"), r"media\[0\]: has no place"),
    "empty message": (lambda r: r.messages.add(role="user"), r"messages\[1\].parts: there is none"),
    "empty part": (lambda r: r.messages[0].parts.add(), r"messages\[0\].parts\[3\]: is empty"),
    "role": (lambda r: setattr(r.messages[0], "role", "doctor"), r"messages\[0\].role: is unknown; use system, user"),
    "media index": (
        lambda r: setattr(r.messages[0].parts[1], "media", 2),
        r"parts\[1\].media: there is no media\[2\], 2 came",
    ),
    "placed twice": (lambda r: setattr(r.messages[0].parts[1], "media", 0), r"media\[0\] has a place already"),
    "no place": (lambda r: r.media.add(), r"media\[2\]: has no place"),
    "no tokens": (lambda r: setattr(r.sampling, "max_new_tokens", 0), "sampling: max_new_tokens must be at least 1"),
    "temperature": (lambda r: setattr(r.sampling, "temperature", -1), "sampling: temperature"),
    "not a number": (lambda r: setattr(r.sampling, "temperature", float("nan")), "sampling: temperature"),
    "top_p": (lambda r: setattr(r.sampling, "top_p", 0), "sampling: top_p"),
    "seed": (lambda r: setattr(r.sampling, "seed", 2**63), r"sampling: seed must be .* less than 2\*\*63"),
    "many stops": (lambda r: r.sampling.stop.extend(["x"] * 17), "sampling.stop: has 17 texts; send 16 at most"),
    "stop": (lambda r: r.sampling.stop.append(""), "sampling: stop must not hold an empty text"),
    "rule": (lambda r: setattr(r.keep, "threshold", -1), "keep.threshold"),
    "rule too strict": (lambda r: setattr(r.keep, "threshold", 1e308), "keep.threshold: .* use 0 to 2"),
    "rule without a number": (lambda r: setattr(r.keep, "threshold", float("nan")), "keep.threshold"),
}


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_fields_are_named_with_the_remedy(change: Change, words: str) -> None:
    """Every mistake of a client is found before any stage works."""
    request = two_media()
    change(request)
    with pytest.raises(PlatformError, match=words) as caught:
        read_question(request, max_new_tokens=100)
    assert caught.value.code is ErrorCode.INVALID_INPUT


def test_too_long_an_answer_is_refused_with_the_limit() -> None:
    """The limit is the operator's; the message says what it is."""
    with pytest.raises(PlatformError, match=r"sampling\.max_new_tokens: 101 is more than the 100") as caught:
        read_question(question("Go on.", max_new_tokens=101), max_new_tokens=100)
    assert caught.value.code is ErrorCode.TOO_LARGE


def test_media_are_asked_for_in_the_order_of_their_places() -> None:
    """Planes are prefilled as they come; what is told to the caller has the caller's numbers again."""
    request = two_media()
    request.media[0].kind, request.media[1].kind = media_pb2.MEDIA_KIND_VIDEO, media_pb2.MEDIA_KIND_IMAGE
    request.messages[0].parts[0].media, request.messages[0].parts[1].media = 1, 0
    asked = read_question(request, max_new_tokens=100)
    assert [medium.kind for medium in asked.media] == [media_pb2.MEDIA_KIND_IMAGE, media_pb2.MEDIA_KIND_VIDEO]
    assert asked.messages[0].parts == (MediaPart(0), MediaPart(1), TextPart("What is this?"))
    item = media_pb2.Item(media=0)
    asked.restore_order([item])
    assert item.media == 1


def test_seed_is_drawn_where_it_matters() -> None:
    """A sampled answer can be drawn again by the seed in its provenance; greedy ones have none."""
    greedy = read_question(question("Go on."), 100).sampling
    drawn = [read_question(question("Go on.", temperature=1.0), 100).sampling.seed for _ in range(2)]
    given = read_question(question("Go on.", temperature=1.0, seed=7), 100).sampling
    assert greedy.seed is None
    assert None not in drawn
    assert drawn[0] != drawn[1]
    assert given.seed == 7


def test_refusals_reach_the_caller_typed(chain: Chain) -> None:
    """Over gRPC as well, and for Plan as for Generate."""
    request = question("Go on.")
    request.messages[0].role = "doctor"
    for call in (
        lambda: chain.decoder.plan(request, timeout_s=5),
        lambda: hear(chain.decoder.generate(request, timeout_s=5)),
    ):
        with pytest.raises(PlatformError, match=r"messages\[0\].role") as caught:
            call()
        assert caught.value.code is ErrorCode.INVALID_INPUT
