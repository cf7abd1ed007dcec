"""The whole model in one process, from planes to an answer."""

import threading

import numpy as np
import pytest
import torch

from hulumed_platform.imaging.types import Kind
from hulumed_platform.model.compression import KeepRule, Policy
from hulumed_platform.model.engine.base import EmbeddingBlock, Sampling, TokenBlock
from hulumed_platform.model.pipeline import HuluMed, visual_item
from hulumed_platform.model.prompt import MediaPart, Message, TextPart, TextSegment, layout
from tests.support.planes import ArrayPlanes, slowly_changing

SAMPLING = Sampling(max_new_tokens=12, ignore_end=True)
MESSAGES = [Message("user", (MediaPart(0), MediaPart(1), MediaPart(2), TextPart("What changed?")))]


@pytest.fixture(scope="module")
def planes() -> ArrayPlanes:
    return ArrayPlanes.of(
        (Kind.IMAGE, slowly_changing(1, 42, 70)),
        (Kind.VOLUME, slowly_changing(5, 56, 84, seed=1)),
        (Kind.VIDEO, slowly_changing(3, 56, 28, seed=2)),
    )


def test_answer_equals_the_steps_done_one_by_one(hulumed: HuluMed, planes: ArrayPlanes) -> None:
    """Overlapping and batching change nothing: all planes first, one at a time, then the prompt as a whole."""
    tokens = {(visual.item, visual.plane): visual for visual in hulumed.visual_tokens(planes, KeepRule(), batch_size=1)}
    segments = layout(MESSAGES, [visual_item(item) for item in planes.items], hulumed.tokenizer)
    blocks = [
        TokenBlock(segment.ids)
        if isinstance(segment, TextSegment)
        else EmbeddingBlock(tokens[segment.item, segment.plane].embeddings)
        for segment in segments
    ]
    expected = [
        token_id for step in hulumed.engine.generate(blocks, SAMPLING, threading.Event()) for token_id in step.token_ids
    ]
    answer = hulumed.answer(MESSAGES, planes, KeepRule(), SAMPLING)
    assert list(answer.token_ids) == expected
    assert answer.text == hulumed.tokenizer.decode(expected)
    assert answer.finish_reason == "length"


def test_only_volumes_and_videos_are_compressed(hulumed: HuluMed, planes: ArrayPlanes) -> None:
    """Embeddings are those of the kept tokens of the uncompressed plane, image and first planes whole."""
    whole = list(hulumed.visual_tokens(planes, KeepRule(Policy.NONE)))
    pruned = list(hulumed.visual_tokens(planes, KeepRule()))
    assert len(whole) == len(pruned) == 9
    for every, few in zip(whole, pruned, strict=True):
        assert every.kept.all()
        assert few.kept.all() == (few.plane == 0)
        torch.testing.assert_close(every.embeddings[torch.from_numpy(few.kept)], few.embeddings, rtol=1e-4, atol=1e-5)


def test_the_answer_depends_on_the_planes(hulumed: HuluMed, planes: ArrayPlanes) -> None:
    """Untrained or not, an answer that ignores its images would prove nothing in other tests."""
    other = ArrayPlanes(planes.items, [np.asarray(255 - frames) for frames in planes.frames])
    answers = [hulumed.answer(MESSAGES, given, KeepRule(), SAMPLING) for given in (planes, other)]
    assert answers[0].token_ids != answers[1].token_ids


def test_text_alone(hulumed: HuluMed) -> None:
    answer = hulumed.answer([Message("user", (TextPart("Hello"),))], ArrayPlanes.of(), KeepRule(), SAMPLING)
    assert len(answer.token_ids) == 12
