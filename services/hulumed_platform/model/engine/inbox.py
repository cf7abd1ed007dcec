"""The prompt of a request between the thread that receives it and the thread that computes it.

Shape suffixes: L tokens, D hidden size.
"""

import threading
from collections import deque

import torch
from torch import Tensor


class PromptInbox:
    """Cuts a prompt that arrives in pieces of any length into chunks of a fixed length.

    Only the last chunk may be short, so the numbers of a prompt do not depend on how it arrived.
    """

    def __init__(self, chunk_length: int) -> None:
        self._chunk_length = chunk_length
        self._lock = threading.Lock()
        self._pieces: deque[Tensor] = deque()
        self._num_waiting = 0
        self._complete = False

    @property
    def ready(self) -> bool:
        """Whether a chunk can be taken. A full one waits for the token after it, in case it is the last."""
        with self._lock:
            return self._complete or self._num_waiting > self._chunk_length

    @property
    def has_room(self) -> bool:
        """Whether the sender may go on; a few chunks ahead of the computation are enough."""
        with self._lock:
            return self._num_waiting <= 2 * self._chunk_length

    def put(self, embeddings_LD: Tensor) -> None:
        """Appends a piece of the prompt."""
        with self._lock:
            self._pieces.append(embeddings_LD)
            self._num_waiting += len(embeddings_LD)

    def finish(self) -> None:
        """Says that the prompt is complete."""
        with self._lock:
            self._complete = True

    def take(self) -> tuple[Tensor, bool]:
        """Takes the next chunk, [L, D], and says whether it is the last one."""
        with self._lock:
            taken: list[Tensor] = []
            lacking = self._chunk_length
            while self._pieces and lacking:
                piece_LD = self._pieces.popleft()
                taken.append(piece_LD[:lacking])
                if len(piece_LD) > lacking:
                    self._pieces.appendleft(piece_LD[lacking:])
                lacking -= len(taken[-1])
            self._num_waiting -= self._chunk_length - lacking
            return torch.cat(taken), self._complete and not self._num_waiting

    def clear(self) -> None:
        """Drops what waits."""
        with self._lock:
            self._pieces.clear()
            self._num_waiting = 0
