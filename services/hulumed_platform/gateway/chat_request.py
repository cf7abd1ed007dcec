"""A chat request to what the decoder is asked."""

from typing import Final

from hulumed_platform.gateway import chat_schema as schema
from hulumed_platform.gateway.attachments import Attachments
from hulumed_platform.gateway.settings import GatewaySettings
from hulumed_platform.rpc.v1 import decoder_pb2, media_pb2, stage_pb2

_POLICIES: Final = {
    None: stage_pb2.POLICY_UNSPECIFIED,
    "hulumed": stage_pb2.POLICY_HULUMED,
    "upstream": stage_pb2.POLICY_UPSTREAM,
    "none": stage_pb2.POLICY_NONE,
}


def to_generate_request(
    chat: schema.ChatRequest, attachments: Attachments, settings: GatewaySettings
) -> decoder_pb2.GenerateRequest:
    """Store what came inside, and name it. Greedy unless a temperature is given.

    Raises:
        PlatformError: A medium is malformed or unknown, or a store is away.
    """
    media: list[media_pb2.MediaRef] = []
    messages = [
        _message(message, f"messages.{index}", attachments, media) for index, message in enumerate(chat.messages)
    ]
    return decoder_pb2.GenerateRequest(
        tenant=settings.tenant,
        messages=messages,
        media=media,
        keep=stage_pb2.KeepRule(
            policy=_POLICIES[chat.hulumed.policy],
            threshold=chat.hulumed.threshold,
            min_tokens=chat.hulumed.min_tokens,
        ),
        sampling=decoder_pb2.Sampling(
            max_new_tokens=chat.max_completion_tokens or chat.max_tokens or settings.max_new_tokens,
            temperature=chat.temperature or 0.0,
            top_p=chat.top_p,
            seed=chat.seed,
            stop=chat.stops,
        ),
    )


def _message(
    message: schema.Message, where: str, attachments: Attachments, media: list[media_pb2.MediaRef]
) -> decoder_pb2.Message:
    """One turn; its media are appended to `media`."""
    role = "system" if message.role == "developer" else message.role
    parts = []
    for index, part in enumerate(message.content):
        if isinstance(part, schema.TextPart):
            parts.append(decoder_pb2.Part(text=part.text))
        else:
            media.append(attachments.reference(part, f"{where}.content.{index}"))
            parts.append(decoder_pb2.Part(media=len(media) - 1))
    return decoder_pb2.Message(role=role, parts=parts)
