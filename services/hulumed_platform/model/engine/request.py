"""One live request of the transformers engine: its prompt as it arrives, its cache, and its answer.

Shape suffixes: L tokens of a chunk, D hidden size, V vocabulary.
"""

import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from hulumed_platform.model.engine.base import FinishReason, Sampling, Step
from hulumed_platform.model.engine.inbox import PromptInbox
from hulumed_platform.model.engine.sampler import Sampler
from hulumed_platform.model.engine.stopping import StopFilter
from hulumed_platform.model.language import LanguageModel
from hulumed_platform.model.tokenizer import Tokenizer

if TYPE_CHECKING:
    from transformers import DynamicCache


class Request:
    """State of a request. `prompt`, `abandon` and `steps` are for the caller's thread, the rest for the scheduler's."""

    def __init__(
        self,
        language: LanguageModel,
        tokenizer: Tokenizer,
        sampling: Sampling,
        cancelled: threading.Event,
        prefill_chunk: int,
    ) -> None:
        self.prompt = PromptInbox(prefill_chunk)
        self._language = language
        self._sampling = sampling
        self._cancelled = cancelled
        self._abandoned = False
        self._end_ids = frozenset() if sampling.ignore_end else tokenizer.end_ids
        self._cache: DynamicCache | None = language.new_cache()
        self._sampler = Sampler(sampling)
        self._text = tokenizer.stream()
        self._stop = StopFilter(sampling.stop)
        self._last_id: int | None = None
        self._num_computed = 0
        self._num_generated = 0
        self._steps: queue.SimpleQueue[Step | Exception] = queue.SimpleQueue()

    @property
    def finished(self) -> bool:
        """Whether the last step was given out and the cache freed."""
        return self._cache is None

    @property
    def runnable(self) -> bool:
        """Whether `advance` has something to do."""
        return self._is_cancelled() or self._last_id is not None or self.prompt.ready

    def abandon(self) -> None:
        """Says that nobody reads the answer any more."""
        self._abandoned = True

    def steps(self) -> Iterator[Step]:
        """Yields the answer as it is drawn; raises what went wrong in the scheduler."""
        while True:
            step = self._steps.get()
            if isinstance(step, Exception):
                raise step
            yield step
            if step.finish_reason is not None:
                return

    def fail(self, error: Exception) -> None:
        """Ends the request with an error and frees its cache."""
        self._release()
        self._steps.put(error)

    def advance(self) -> None:
        """Does one unit of work: a chunk of the prompt, or one token of the answer."""
        if self._is_cancelled():
            self._emit("", (), "cancelled")
        elif self._last_id is not None:
            self._draw(self._compute(self._language.embed((self._last_id,))))
        else:
            chunk_LD, is_last = self.prompt.take()
            logits_V = self._compute(chunk_LD)
            if is_last:
                self._draw(logits_V)

    def _is_cancelled(self) -> bool:
        return self._abandoned or self._cancelled.is_set()

    def _compute(self, embeddings_LD: Tensor) -> Tensor:
        assert self._cache is not None
        self._num_computed += len(embeddings_LD)
        return self._language.forward(embeddings_LD, self._cache)[0]

    def _draw(self, logits_V: Tensor) -> None:
        token_id = self._sampler.choose(logits_V)
        self._last_id = token_id
        self._num_generated += 1
        text = self._stop.push(self._text.push(token_id))
        if token_id in self._end_ids or self._stop.stopped:
            self._emit(text + self._rest(), (token_id,), "stop")
        elif self._is_full():
            self._emit(text + self._rest(), (token_id,), "length")
        else:
            self._emit(text, (token_id,), None)

    def _is_full(self) -> bool:
        """Whether the token drawn last was the last one allowed, or filled the context."""
        return (
            self._num_generated == self._sampling.max_new_tokens or self._num_computed + 1 == self._language.max_context
        )

    def _rest(self) -> str:
        """What was held back; a stop text may become complete in it."""
        if self._stop.stopped:
            return ""
        return self._stop.push(self._text.flush()) + self._stop.flush()

    def _emit(self, text: str, token_ids: tuple[int, ...], finish_reason: FinishReason | None) -> None:
        if finish_reason is not None:
            self._release()
        self._steps.put(Step(text, token_ids, finish_reason))

    def _release(self) -> None:
        self._cache = None
        self.prompt.clear()
