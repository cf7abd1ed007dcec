"""The seam between the decoder and whatever generates: blocks of a prompt go in, steps of an answer come out."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import torch

EngineName: TypeAlias = Literal["transformers"]
FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the answer is drawn."""

    max_new_tokens: int
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    """Smallest set of tokens whose probability reaches this; 1 is off."""
    top_k: int = 0
    """Most probable tokens to draw from; 0 is off."""
    seed: int | None = None
    """Equal seeds draw equal answers; None draws afresh."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are never part of it."""
    ignore_end: bool = False
    """Go on after an end token, as parity checks and benchmarks need."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, not {self.max_new_tokens}")
        if not 0.0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be 0 (greedy) or positive, not {self.temperature}")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 (off) or positive, not {self.top_k}")
        if self.seed is not None and not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"seed must be at least -2**63 and less than 2**63, not {self.seed}")
        if "" in self.stop:
            raise ValueError("stop must not hold an empty text")


@dataclass(frozen=True, slots=True)
class TokenBlock:
    """Text of the prompt."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingBlock:
    """Visual tokens of the prompt: float [n, hidden] on any device, in any float dtype."""

    values: "torch.Tensor"


Block: TypeAlias = "TokenBlock | EmbeddingBlock"


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of the answer."""

    text: str
    """What to append to the answer; may be empty while a character or a possible stop text is incomplete."""
    token_ids: tuple[int, ...]
    """Tokens generated since the step before, an end token included."""
    finish_reason: FinishReason | None = None
    """Set on the last step: end token or stop text, token limit or full context, or cancelled."""


class Engine(Protocol):
    """Generates answers; called from many threads at once."""

    max_context: int
    """Most tokens of prompt and answer together."""

    def generate(self, blocks: Iterable[Block], sampling: Sampling, cancelled: threading.Event) -> Iterator[Step]:
        """Yields the answer while it is drawn; the last step carries the finish reason.

        `blocks` is consumed by the calling thread while earlier blocks are already being computed; an error it raises
        reaches the caller. Closing the iterator early, or setting `cancelled`, frees what the request holds.

        Raises:
            ContextLengthError: the prompt does not leave room for one token; raised before the tokens that are too
                many are computed.
            EngineClosedError: the engine was closed before the answer was complete.
        """

    def close(self) -> None:
        """Ends all requests and frees what the engine holds."""
