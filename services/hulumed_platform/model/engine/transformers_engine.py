"""The plain engine: transformers on one device, all live requests stepped in turn by one thread.

Each request has its own cache and is computed alone, so its numbers do not depend on who else is served. Throughput
under load is the job of other engines behind the same interface.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator

import torch

from hulumed_platform.model.engine.base import Block, EmbeddingBlock, Sampling, Step, TokenBlock
from hulumed_platform.model.engine.request import Request
from hulumed_platform.model.errors import ContextLengthError, EngineClosedError, ModelError
from hulumed_platform.model.language import LanguageModel
from hulumed_platform.model.tokenizer import Tokenizer

# How often to look for a cancellation while a prompt is still arriving: nothing else wakes the scheduler then.
_CANCEL_POLL_S = 0.05


class TransformersEngine:
    """Serves requests of many threads; see `Engine`. How many at once is for the caller to bound."""

    def __init__(self, language: LanguageModel, tokenizer: Tokenizer, prefill_chunk: int = 512) -> None:
        self.max_context = language.max_context
        self._language = language
        self._tokenizer = tokenizer
        self._prefill_chunk = prefill_chunk
        self._live: deque[Request] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._scheduler = threading.Thread(target=self._schedule, name="engine", daemon=True)
        self._scheduler.start()

    @property
    def num_live(self) -> int:
        """Requests that hold a cache."""
        with self._changed:
            return sum(not request.finished for request in self._live)

    def generate(self, blocks: Iterable[Block], sampling: Sampling, cancelled: threading.Event) -> Iterator[Step]:
        """Yields the answer while it is drawn; see `Engine.generate`."""
        request = Request(self._language, self._tokenizer, sampling, cancelled, self._prefill_chunk)
        self._add(request)
        try:
            self._feed(request, blocks)
            yield from request.steps()
        finally:
            self._remove(request)

    def close(self) -> None:
        """Ends all requests with `EngineClosedError` and the scheduler with them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._scheduler.join()

    def _add(self, request: Request) -> None:
        with self._changed:
            if self._closed:
                raise EngineClosedError("the engine is closed; send the request to another one")
            self._live.append(request)

    def _remove(self, request: Request) -> None:
        request.abandon()
        with self._changed:
            self._changed.notify_all()

    def _feed(self, request: Request, blocks: Iterable[Block]) -> None:
        """Passes the prompt on as it arrives, never more than a few chunks ahead of the computation."""
        num_prompt = 0
        for block in blocks:
            embeddings = self._embed(block)
            num_prompt += len(embeddings)
            if num_prompt >= self.max_context:
                raise ContextLengthError(
                    f"the prompt has more tokens than the model's context of {self.max_context} takes; "
                    "send fewer planes or less text"
                )
            with self._changed:
                while not (request.finished or request.prompt.has_room):
                    self._changed.wait()
                if request.finished:
                    return
                request.prompt.put(embeddings)
                self._changed.notify_all()
        if num_prompt == 0:
            raise ModelError("the prompt is empty")
        with self._changed:
            request.prompt.finish()
            self._changed.notify_all()

    @torch.inference_mode()
    def _embed(self, block: Block) -> torch.Tensor:
        match block:
            case TokenBlock(ids):
                return self._language.embed(ids)
            case EmbeddingBlock(values):
                if values.ndim != 2 or values.shape[1] != self._language.hidden_size:
                    raise ModelError(
                        f"visual embeddings have shape {tuple(values.shape)}; "
                        f"this decoder takes [n, {self._language.hidden_size}]"
                    )
                return values.to(device=self._language.device, dtype=self._language.dtype)

    def _schedule(self) -> None:
        while (request := self._next()) is not None:
            try:
                request.advance()
            except Exception as error:  # noqa: BLE001 - the outermost loop: the request's caller raises it
                request.fail(error)
            with self._changed:
                if request.finished:
                    self._live.remove(request)
                self._changed.notify_all()

    def _next(self) -> Request | None:
        """The next request that has work, waiting for one; None when the engine closes."""
        with self._changed:
            while not self._closed:
                for _ in range(len(self._live)):
                    self._live.rotate(-1)
                    if self._live[-1].runnable:
                        return self._live[-1]
                self._changed.wait(_CANCEL_POLL_S if self._live else None)
            while self._live:
                self._live.popleft().fail(EngineClosedError("the engine was closed before the answer was complete"))
            self._changed.notify_all()
            return None
