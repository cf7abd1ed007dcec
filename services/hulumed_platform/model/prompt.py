"""The published prompt layout: ChatML text with a run of visual placeholders for every plane.

Layout of Hulu-Med's processor: no implicit system prompt; an image is `<image>` and a newline; the planes of a volume
or video are separated by commas and followed by a newline, those of a video each preceded by `Time 1.5s:`. What users
type is always plain text: control tokens come from the layout alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, Protocol, TypeAlias

from hulumed_platform.model.errors import PromptError

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
IMAGE = "<image>"
END_OF_TEXT = "<|endoftext|>"
CONTROL_TOKENS = (END_OF_TEXT, IM_START, IM_END, IMAGE)

ROLES = ("system", "user", "assistant")


class PromptTokenizer(Protocol):
    """What the layout needs of a tokenizer."""

    def encode_text(self, text: str) -> list[int]:
        """Token ids of plain text; control tokens written in it are text like any other."""

    def special_id(self, name: str) -> int:
        """Id of a control token, by its name."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """Plain text of a message."""

    text: str


@dataclass(frozen=True, slots=True)
class MediaPart:
    """The place of a medium in a message: all its visual items, in order."""

    media: int


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is one of `ROLES`."""

    role: str
    parts: tuple[TextPart | MediaPart, ...]


@dataclass(frozen=True, slots=True)
class VisualItem:
    """An image, volume or video as the prompt sees it."""

    media: int
    kind: Literal["image", "volume", "video"]
    num_planes: int
    timestamps_s: tuple[float, ...] | None = None
    """Time of each plane in seconds, of videos only; they are written into the prompt."""


@dataclass(frozen=True, slots=True)
class TextSegment:
    """A run of token ids."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PlaneSegment:
    """The place of the kept visual tokens of one plane."""

    item: int
    plane: int


Segment: TypeAlias = TextSegment | PlaneSegment


@dataclass(frozen=True, slots=True)
class _Control:
    """A control token of the layout."""

    name: str


_Fragment: TypeAlias = str | _Control | PlaneSegment


def layout(messages: Sequence[Message], items: Sequence[VisualItem], tokenizer: PromptTokenizer) -> list[Segment]:
    """Lays a conversation out as runs of token ids and places for planes, the generation prompt at the end.

    Raises:
        PromptError: a role is unknown, a part names a medium without items, or an item has no place in the messages.
    """
    _check(messages, items)
    segments: list[Segment] = []
    ids: list[int] = []
    for fragment in _joined(_conversation(messages, items)):
        match fragment:
            case str():
                ids += tokenizer.encode_text(fragment)
            case _Control(name):
                ids.append(tokenizer.special_id(name))
            case PlaneSegment():
                segments += [TextSegment(tuple(ids)), fragment]
                ids = []
    return [*segments, TextSegment(tuple(ids))]


def expand(segments: Sequence[Segment], kept: Sequence[Sequence[int]], image_id: int) -> list[int]:
    """Token ids of the whole prompt, each plane as `kept[item][plane]` copies of `image_id`."""
    ids: list[int] = []
    for segment in segments:
        match segment:
            case TextSegment():
                ids += segment.ids
            case PlaneSegment(item, plane):
                ids += [image_id] * kept[item][plane]
    return ids


def num_text_tokens(segments: Sequence[Segment]) -> int:
    """Prompt tokens that are not visual."""
    return sum(len(segment.ids) for segment in segments if isinstance(segment, TextSegment))


def _check(messages: Sequence[Message], items: Sequence[VisualItem]) -> None:
    for message in messages:
        if message.role not in ROLES:
            raise PromptError(f"a message has an unknown role; use one of {', '.join(ROLES)}")
    placed = [part.media for message in messages for part in message.parts if isinstance(part, MediaPart)]
    offered = {item.media for item in items}
    if repeated := sorted({media for media in placed if placed.count(media) > 1}):
        raise PromptError(f"media {repeated} are placed more than once in the messages; place each once")
    if empty := sorted(set(placed) - offered):
        raise PromptError(f"media {empty} are placed in the messages but have no planes; leave them out")
    if homeless := sorted(offered - set(placed)):
        raise PromptError(f"media {homeless} have no place in the messages; add a part for each")


def _conversation(messages: Sequence[Message], items: Sequence[VisualItem]) -> Iterator[_Fragment]:
    for message in messages:
        yield from (_Control(IM_START), f"{message.role}\n")
        for part in message.parts:
            match part:
                case TextPart(text):
                    yield text
                case MediaPart(media):
                    for index, item in enumerate(items):
                        if item.media == media:
                            yield from _planes(index, item)
        yield from (_Control(IM_END), "\n")
    yield from (_Control(IM_START), "assistant\n")


def _planes(index: int, item: VisualItem) -> Iterator[_Fragment]:
    for plane in range(item.num_planes):
        if item.timestamps_s is not None:
            yield f"Time {item.timestamps_s[plane]:.1f}s:"
        yield PlaneSegment(index, plane)
        yield "\n" if plane == item.num_planes - 1 else ","


def _joined(fragments: Iterator[_Fragment]) -> Iterator[_Fragment]:
    """Joins adjacent text, so that tokens may cross the borders of parts as they do in the full text."""
    for is_text, group in groupby(fragments, key=lambda fragment: isinstance(fragment, str)):
        if is_text:
            yield "".join(fragment for fragment in group if isinstance(fragment, str))
        else:
            yield from group
