"""A request to the decoder, checked and in the order in which its prompt needs the media."""

import math
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.model.compression import KeepRule
from hulumed_platform.model.engine.base import Sampling
from hulumed_platform.model.prompt import ROLES, MediaPart, Message, TextPart
from hulumed_platform.rpc import convert
from hulumed_platform.rpc.convert import invalid
from hulumed_platform.rpc.v1 import decoder_pb2, media_pb2, stage_pb2
from hulumed_platform.storage.objects import check_tenant

MOST_STOPS = 16
"""Each is looked for after every token, by the one thread that serves all requests."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Planes are prefilled as they come, so media are asked for in the order of their places in the messages; `order`
    says where each stands in the request.
    """

    tenant: str
    messages: tuple[Message, ...]
    media: tuple[media_pb2.MediaRef, ...]
    order: tuple[int, ...]
    rule: KeepRule
    sampling: Sampling

    def stage_request(self, checkpoint_digest: str) -> stage_pb2.StageRequest:
        """What to ask the compressor for."""
        return stage_pb2.StageRequest(
            tenant=self.tenant,
            media=self.media,
            keep=convert.keep_rule_to_wire(self.rule),
            checkpoint_digest=checkpoint_digest,
        )

    def restore_order(self, described: Iterable[media_pb2.Item | media_pb2.LeftOut]) -> None:
        """Make `media` of items and left-outs the index in the caller's request again, in place."""
        for one in described:
            one.media = self.order[one.media]


def read_question(request: decoder_pb2.GenerateRequest, max_new_tokens: int) -> Question:
    """Check a request as far as this can be done without looking at its media.

    Raises:
        PlatformError: INVALID_INPUT with the field and how to mend it, TOO_LARGE for too long an answer.
    """
    check_tenant(request.tenant)
    if not request.messages:
        raise invalid("messages", "there is none; send at least one")
    order = tuple(_places(request))
    position = {media: index for index, media in enumerate(order)}
    return Question(
        tenant=request.tenant,
        messages=tuple(
            Message(_role(message, f"messages[{index}]"), tuple(_part(part, position) for part in message.parts))
            for index, message in enumerate(request.messages)
        ),
        media=tuple(request.media[index] for index in order),
        order=order,
        rule=convert.keep_rule_from_wire(request.keep),
        sampling=_sampling(request.sampling, max_new_tokens),
    )


def sampling_to_wire(sampling: Sampling) -> decoder_pb2.Sampling:
    """All values that the answer was drawn with."""
    return decoder_pb2.Sampling(
        max_new_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        seed=sampling.seed,
        stop=sampling.stop,
    )


def _places(request: decoder_pb2.GenerateRequest) -> Iterator[int]:
    """Indices of the media in the order of their places; each has exactly one."""
    seen: set[int] = set()
    for message_index, message in enumerate(request.messages):
        for part_index, part in enumerate(message.parts):
            where = f"messages[{message_index}].parts[{part_index}]"
            match part.WhichOneof("part"):
                case None:
                    raise invalid(where, "is empty; give it a text or a medium")
                case "media":
                    if part.media >= len(request.media):
                        raise invalid(f"{where}.media", f"there is no media[{part.media}], {len(request.media)} came")
                    if part.media in seen:
                        raise invalid(f"{where}.media", f"media[{part.media}] has a place already; place each once")
                    seen.add(part.media)
                    yield part.media
    if homeless := sorted(set(range(len(request.media))) - seen):
        raise invalid(f"media[{homeless[0]}]", "has no place in the messages; add a part for it or leave it out")


def _role(message: decoder_pb2.Message, where: str) -> str:
    if message.role not in ROLES:
        raise invalid(f"{where}.role", f"is unknown; use {', '.join(ROLES)}")
    if not message.parts:
        raise invalid(f"{where}.parts", "there is none; give the message a text or a medium")
    return message.role


def _part(part: decoder_pb2.Part, position: dict[int, int]) -> TextPart | MediaPart:
    return MediaPart(position[part.media]) if part.HasField("media") else TextPart(part.text)


def _sampling(sampling: decoder_pb2.Sampling, max_new_tokens: int) -> Sampling:
    if sampling.max_new_tokens > max_new_tokens:
        raise PlatformError(
            ErrorCode.TOO_LARGE,
            f"sampling.max_new_tokens: {sampling.max_new_tokens} is more than the {max_new_tokens} that this decoder "
            "allows; ask for fewer",
        )
    if len(sampling.stop) > MOST_STOPS:
        raise invalid("sampling.stop", f"has {len(sampling.stop)} texts; send {MOST_STOPS} at most")
    greedy = sampling.temperature == 0 or math.isnan(sampling.temperature)
    drawn_seed = None if greedy else secrets.randbits(63)
    try:
        return Sampling(
            max_new_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p if sampling.HasField("top_p") else 1.0,
            top_k=sampling.top_k,
            seed=sampling.seed if sampling.HasField("seed") else drawn_seed,
            stop=tuple(sampling.stop),
        )
    except ValueError as error:
        raise invalid("sampling", str(error)) from None
