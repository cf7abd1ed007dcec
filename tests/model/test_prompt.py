"""The published prompt layout, in which users cannot type control tokens."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Fast

from hulumed_platform.model.errors import PromptError
from hulumed_platform.model.prompt import (
    CONTROL_TOKENS,
    MediaPart,
    Message,
    PlaneSegment,
    TextPart,
    TextSegment,
    VisualItem,
    expand,
    layout,
    num_text_tokens,
)
from hulumed_platform.model.tokenizer import Tokenizer

TEXTS = [
    "user\nDescribe the scan:\n\nFindings? assistant\nTime 1.0s:, , ,\nThe heart is not enlarged. Time 12.5s:\n\n\n"
]
IMAGE_ITEM = VisualItem(media=0, kind="image", num_planes=1)
VOLUME = VisualItem(media=1, kind="volume", num_planes=3)
VIDEO = VisualItem(media=2, kind="video", num_planes=2, timestamps_s=(0.0, 12.54))


@pytest.fixture(scope="module")
def fast() -> Fast:
    """A byte-level BPE with merges, so that text tokenised in pieces differs from text tokenised whole."""
    fast = Fast(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    fast.train_from_iterator(TEXTS * 5, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    fast.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in CONTROL_TOKENS])
    return fast


@pytest.fixture(scope="module")
def tokenizer(fast: Fast) -> Tokenizer:
    return Tokenizer(json.loads(fast.to_str()))


def user(*parts: TextPart | MediaPart) -> Message:
    return Message("user", parts)


CONVERSATION = [
    Message("system", (TextPart("Be brief."),)),
    user(TextPart("Before:"), MediaPart(0), MediaPart(1), TextPart("After: "), TextPart("what is it?")),
    Message("assistant", (TextPart("A scan."),)),
    user(MediaPart(2), TextPart("And now?")),
]
ITEMS = [IMAGE_ITEM, VOLUME, VIDEO]
KEPT = [[4], [9, 0, 2], [3, 1]]
FULL_TEXT = (
    "<|im_start|>system\nBe brief.<|im_end|>\n"
    "<|im_start|>user\nBefore:"
    + "<image>" * 4
    + "\n"
    + "<image>" * 9
    + ","
    + ","
    + "<image>" * 2
    + "\nAfter: what is it?<|im_end|>\n"
    "<|im_start|>assistant\nA scan.<|im_end|>\n"
    "<|im_start|>user\nTime 0.0s:" + "<image>" * 3 + ",Time 12.5s:<image>\nAnd now?<|im_end|>\n"
    "<|im_start|>assistant\n"
)


def test_segments_equal_the_full_text_tokenised(fast: Fast, tokenizer: Tokenizer) -> None:
    """The published code tokenises the expanded text at once."""
    segments = layout(CONVERSATION, ITEMS, tokenizer)
    ids = expand(segments, KEPT, tokenizer.special_id("<image>"))
    # Between the two commas nothing stands where a plane kept no token: the text around it is not joined.
    first, second = FULL_TEXT.split(",,")
    assert ids == fast.encode(first + ",").ids + fast.encode("," + second).ids
    assert [s for s in segments if isinstance(s, PlaneSegment)] == [
        PlaneSegment(item, plane) for item, kept in enumerate(KEPT) for plane in range(len(kept))
    ]
    assert num_text_tokens(segments) == len(ids) - sum(map(sum, KEPT))


PLAIN_TEXT = st.text(st.characters(exclude_characters="<", codec="utf-8"))


@given(texts=st.lists(PLAIN_TEXT, min_size=1, max_size=4), kept=st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_any_text_tokenises_as_the_full_text_does(
    fast: Fast, tokenizer: Tokenizer, texts: list[str], kept: list[int]
) -> None:
    item = VisualItem(media=0, kind="volume", num_planes=len(kept))
    segments = layout([user(MediaPart(0), *map(TextPart, texts))], [item], tokenizer)
    planes = ",".join("<image>" * count for count in kept)
    full = f"<|im_start|>user\n{planes}\n{''.join(texts)}<|im_end|>\n<|im_start|>assistant\n"
    assert expand(segments, [kept], tokenizer.special_id("<image>")) == fast.encode(full).ids


@pytest.mark.parametrize("typed", CONTROL_TOKENS)
def test_typed_control_tokens_are_text(tokenizer: Tokenizer, typed: str) -> None:
    """A user who writes `<image>` or ends the turn by hand writes letters."""
    segments = layout([user(TextPart(f"a {typed} b"))], [], tokenizer)
    (segment,) = segments
    assert isinstance(segment, TextSegment)
    expected = {"<|im_start|>": 2, "<|im_end|>": 1}
    for name in CONTROL_TOKENS:
        assert segment.ids.count(tokenizer.special_id(name)) == expected.get(name, 0)
    assert typed in tokenizer.decode(segment.ids)


def test_a_medium_may_become_several_items(tokenizer: Tokenizer) -> None:
    """A whole study is one part of the message and every series of it an item."""
    items = [VisualItem(0, "volume", 2), VisualItem(0, "image", 1), VisualItem(0, "volume", 1)]
    planes = [s for s in layout([user(MediaPart(0))], items, tokenizer) if isinstance(s, PlaneSegment)]
    assert planes == [PlaneSegment(0, 0), PlaneSegment(0, 1), PlaneSegment(1, 0), PlaneSegment(2, 0)]


@pytest.mark.parametrize(
    ("messages", "items", "message"),
    [
        ([Message("tool", ())], [], "unknown role"),
        ([user(MediaPart(3))], [], r"media \[3\] .* have no planes"),
        ([user()], [IMAGE_ITEM], r"media \[0\] have no place"),
        ([user(MediaPart(0)), user(MediaPart(0))], [IMAGE_ITEM], r"media \[0\] are placed more than once"),
    ],
)
def test_parts_and_media_must_fit(
    tokenizer: Tokenizer, messages: list[Message], items: list[VisualItem], message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        layout(messages, items, tokenizer)
