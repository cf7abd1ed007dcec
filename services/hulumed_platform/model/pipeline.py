"""The whole model in one process: the reference that the chain of services must equal, token for token.

Shape suffixes: P planes, N patches of a plane, F values of a flat patch, K tokens of a plane, T kept tokens of a batch,
D hidden size.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hulumed_platform.imaging.types import Item, Kind, PreparedPlane
from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.compression import KeepRule
from hulumed_platform.model.engine.base import Block, EmbeddingBlock, FinishReason, Sampling, Step, TokenBlock
from hulumed_platform.model.engine.transformers_engine import TransformersEngine
from hulumed_platform.model.projection import Projector
from hulumed_platform.model.prompt import Message, PlaneSegment, TextSegment, VisualItem, layout
from hulumed_platform.model.tokenizer import Tokenizer
from hulumed_platform.model.vision import VisionEncoder


class Planes(Protocol):
    """What the model needs of `imaging.prepare.Preparation`."""

    @property
    def items(self) -> Sequence[Item]:
        """Images, volumes and videos of the request."""

    def planes(self) -> Iterator[PreparedPlane]:
        """Their planes, item by item."""


@dataclass(frozen=True, slots=True, eq=False)
class VisualTokens:
    """The tokens of a plane after compression and projection."""

    item: int
    plane: int
    kept: NDArray[np.bool_]
    """[K], in merge-block order of the grid."""
    embeddings: Tensor
    """[kept, D]"""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason


class HuluMed:
    """Encoder, keep rule, projector and engine in a row."""

    def __init__(
        self, encoder: VisionEncoder, projector: Projector, engine: TransformersEngine, tokenizer: Tokenizer
    ) -> None:
        self.encoder = encoder
        self.projector = projector
        self.engine = engine
        self.tokenizer = tokenizer

    @classmethod
    def load(
        cls, checkpoint_dir: Path, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> "HuluMed":
        """Loads all parts of a checkpoint; `device` defaults to the CPU, `dtype` to the stored one.

        Raises:
            CheckpointError: the folder is not a complete checkpoint with a tokenizer.
        """
        checkpoint = Checkpoint.open(checkpoint_dir)
        device = device or torch.device("cpu")
        tokenizer = checkpoint.tokenizer()
        return cls(
            checkpoint.load_encoder(device, dtype),
            checkpoint.load_projector(device, dtype),
            TransformersEngine(checkpoint.load_language(device, dtype), tokenizer),
            tokenizer,
        )

    def close(self) -> None:
        """Ends the engine's thread."""
        self.engine.close()

    def visual_tokens(self, planes: Planes, rule: KeepRule, batch_size: int = 8) -> Iterator[VisualTokens]:
        """Yields the visual tokens of every plane; up to `batch_size` planes of an item are encoded together."""
        for index, group in groupby(planes.planes(), key=lambda plane: plane.item):
            item = planes.items[index]
            for batch in _batched(group, batch_size):
                kept_PK = np.stack([_kept(plane, item, rule) for plane in batch])
                features_TD = self._encode(batch, item, kept_PK)
                for plane, kept_K, features in zip(batch, kept_PK, _by_plane(features_TD, kept_PK), strict=True):
                    yield VisualTokens(plane.item, plane.plane, kept_K, self._project(features))

    def generate(
        self, messages: Sequence[Message], planes: Planes, rule: KeepRule, sampling: Sampling
    ) -> Iterator[Step]:
        """Yields the answer to a conversation about the given planes, as `Engine.generate` does."""
        return self.engine.generate(self._blocks(messages, planes, rule), sampling, threading.Event())

    def answer(self, messages: Sequence[Message], planes: Planes, rule: KeepRule, sampling: Sampling) -> Answer:
        """The answer of `generate` in one piece."""
        steps = list(self.generate(messages, planes, rule, sampling))
        finish_reason = steps[-1].finish_reason
        assert finish_reason is not None
        token_ids = tuple(token_id for step in steps for token_id in step.token_ids)
        return Answer("".join(step.text for step in steps), token_ids, finish_reason)

    def _blocks(self, messages: Sequence[Message], planes: Planes, rule: KeepRule) -> Iterator[Block]:
        tokens = self.visual_tokens(planes, rule)
        for segment in layout(messages, [visual_item(item) for item in planes.items], self.tokenizer):
            match segment:
                case TextSegment(ids):
                    yield TokenBlock(ids)
                case PlaneSegment(item, plane):
                    visual = next(tokens)
                    assert (visual.item, visual.plane) == (item, plane)
                    yield EmbeddingBlock(visual.embeddings)

    @torch.inference_mode()
    def _encode(self, batch: Sequence[PreparedPlane], item: Item, kept_PK: NDArray[np.bool_]) -> Tensor:
        """Features of what is kept of a batch, [T, vision hidden]."""
        patches_PNF = torch.from_numpy(np.stack([plane.patches for plane in batch]))
        device = self.encoder.post_layernorm.weight.device
        return self.encoder.encode_kept(
            patches_PNF.to(device), item.height, item.width, item.merge, torch.from_numpy(kept_PK)
        )

    @torch.inference_mode()
    def _project(self, features_TD: Tensor) -> Tensor:
        # A plane a time, as the compressor does: products of other sizes round differently.
        embeddings: Tensor = self.projector(features_TD)
        return embeddings


def _kept(plane: PreparedPlane, item: Item, rule: KeepRule) -> NDArray[np.bool_]:
    return rule.keep(
        plane.novelty, plane=plane.plane, num_planes=item.num_planes, compressible=item.kind is not Kind.IMAGE
    )


def _by_plane(features_TD: Tensor, kept_PK: NDArray[np.bool_]) -> tuple[Tensor, ...]:
    return torch.split(features_TD, kept_PK.sum(axis=1).tolist())


def visual_item(item: Item) -> VisualItem:
    """An item of `imaging` as the prompt sees it."""
    return VisualItem(item.media, item.kind.value, item.num_planes, item.timestamps_s)


def _batched(planes: Iterable[PreparedPlane], size: int) -> Iterator[list[PreparedPlane]]:
    batch: list[PreparedPlane] = []
    for plane in planes:
        batch.append(plane)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
