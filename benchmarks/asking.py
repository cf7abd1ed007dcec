"""Questions to the rooms and to the model in one process, and what their answers cost."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hulumed_platform.imaging.prepare import prepare
from hulumed_platform.imaging.types import Limits, Media, PrepareOptions, SourceFile, TokenBudget
from hulumed_platform.model.compression import KeepRule
from hulumed_platform.model.engine.base import Sampling
from hulumed_platform.model.pipeline import HuluMed
from hulumed_platform.model.prompt import MediaPart, Message, TextPart
from hulumed_platform.rpc.v1 import decoder_pb2, media_pb2, stage_pb2
from tests.support.chain import TENANT, Chain
from tests.support.questions import medium, question

TEXT = "What does this show?"
NEW_TOKENS = 32
_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A stored medium, and how many of its planes the question is about; None for a picture."""

    objects: Sequence[media_pb2.ObjectRef]
    num_planes: int | None


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one answer, as the one who asked saw it."""

    text: str
    first_token_s: float
    total_s: float
    prompt_tokens: int


def ask_rooms(chain: Chain, asked: Asked, *, policy: stage_pb2.Policy.ValueType = stage_pb2.POLICY_HULUMED) -> Cost:
    """Ask the decoder room."""
    options = {} if asked.num_planes is None else {"num_planes": asked.num_planes}
    request = question(medium(asked.objects, **options), TEXT, max_new_tokens=NEW_TOKENS)
    request.keep.policy = policy
    started = time.perf_counter()
    first_token_s = 0.0
    text = ""
    end = decoder_pb2.Finished()
    for event in chain.decoder.generate(request, timeout_s=_TIMEOUT_S):
        text += event.delta.text
        if event.delta.tokens and not first_token_s:
            first_token_s = time.perf_counter() - started
        end = event.finished
    return Cost(text, first_token_s, time.perf_counter() - started, end.provenance.usage.prompt_tokens)


def ask_one_process(model: HuluMed, chain: Chain, asked: Asked, scratch: Path) -> Cost:
    """Ask the model that is loaded in this process, about the same stored objects."""
    started = time.perf_counter()
    files = tuple(
        SourceFile(chain.objects.materialise(TENANT, ref.digest, scratch), ref.digest, ref.label)
        for ref in asked.objects
    )
    media = [Media(files, options=PrepareOptions(num_planes=asked.num_planes))]
    preparation = prepare(media, limits=Limits(), budget=TokenBudget(), scratch=scratch)
    message = Message("user", (MediaPart(0), TextPart(TEXT)))
    first_token_s = 0.0
    text = ""
    for step in model.generate([message], preparation, KeepRule(), Sampling(NEW_TOKENS)):
        text += step.text
        if step.token_ids and not first_token_s:
            first_token_s = time.perf_counter() - started
    return Cost(text, first_token_s, time.perf_counter() - started, prompt_tokens=0)
