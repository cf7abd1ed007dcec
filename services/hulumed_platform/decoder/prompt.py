"""The prompt of a question, laid out over the items that its media became."""

from collections.abc import Sequence
from dataclasses import dataclass

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.model.errors import PromptError
from hulumed_platform.model.prompt import MediaPart, Message, Segment, TextPart, layout, num_text_tokens
from hulumed_platform.model.tokenizer import Tokenizer
from hulumed_platform.rpc import convert
from hulumed_platform.rpc.v1 import media_pb2

_MOST_CHARACTERS_A_TOKEN = 16
"""No text has more of them on average; one that is longer is not even tokenised, which costs 100 bytes a token."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Runs of text and places for planes."""

    segments: tuple[Segment, ...]
    num_text_tokens: int
    most_visual_tokens: int
    """Visual tokens before compression."""

    @property
    def most_tokens(self) -> int:
        """Tokens if the keep rule kept everything."""
        return self.num_text_tokens + self.most_visual_tokens

    def check_fits(self, num_visual_tokens: int, max_context: int) -> None:
        """Refuse a prompt that does not leave room for one token of an answer.

        Raises:
            PlatformError: TOO_LARGE with the exact numbers.
        """
        total = self.num_text_tokens + num_visual_tokens
        if total < max_context:
            return
        remedy = "ask for fewer planes (num_planes)" if num_visual_tokens else "send less text"
        raise PlatformError(
            ErrorCode.TOO_LARGE,
            f"the prompt has {total} tokens, {num_visual_tokens} of them visual after compression; the model's context "
            f"takes {max_context} with the answer: {remedy}",
        )


def lay_out(
    messages: Sequence[Message],
    items: Sequence[media_pb2.Item],
    left_out: Sequence[media_pb2.LeftOut],
    tokenizer: Tokenizer,
    max_context: int,
) -> Prompt:
    """Lay the conversation out as published.

    Raises:
        PlatformError: INVALID_INPUT where nothing of a medium can be shown; TOO_LARGE for text that is out of all
            proportion to `max_context`.
    """
    _check_length(messages, max_context)
    _check_shown(messages, items, left_out)
    try:
        segments = layout(messages, [convert.visual_item(item) for item in items], tokenizer)
    except PromptError as error:
        raise convert.invalid("messages", str(error)) from error
    most = sum(len(item.planes) * convert.tokens_per_plane(item) for item in items)
    return Prompt(tuple(segments), num_text_tokens(segments), most)


def _check_length(messages: Sequence[Message], max_context: int) -> None:
    length = sum(len(part.text) for message in messages for part in message.parts if isinstance(part, TextPart))
    if length > _MOST_CHARACTERS_A_TOKEN * max_context:
        raise PlatformError(
            ErrorCode.TOO_LARGE,
            f"the text has {length} characters; the model's context takes {max_context} tokens: send less text",
        )


def _check_shown(
    messages: Sequence[Message], items: Sequence[media_pb2.Item], left_out: Sequence[media_pb2.LeftOut]
) -> None:
    shown = {item.media for item in items}
    for message in messages:
        for part in message.parts:
            if isinstance(part, MediaPart) and part.media not in shown:
                reasons = [f"{one.count} x {one.what} ({one.reason})" for one in left_out if one.media == part.media]
                why = ", ".join(reasons) or "it is empty"
                raise convert.invalid("media", f"nothing of a medium can be shown: {why}; leave it out")
