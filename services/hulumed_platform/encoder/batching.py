"""Encodes planes of all requests together: planes of equal grid form one batch, whoever asked for them."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from hulumed_platform.core import metrics
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.model.vision import VisionEncoder


@dataclass(frozen=True, slots=True)
class Grid:
    """Patches of a plane, and the side of the square of patches that becomes one token."""

    height: int
    width: int
    merge: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """Features of one plane, and its share of the time that the batch took."""

    features: torch.Tensor
    """[tokens, hidden], on the CPU."""
    busy_s: float


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    patches: NDArray[np.uint8]
    grid: Grid
    gone: threading.Event
    encoded: Future[Encoded] = field(default_factory=Future)


class Batcher:
    """One thread that encodes what waits, oldest first, with all of equal grid that fit into the same forward pass.

    A request may only have a few planes here at a time (the caller sees to that), so none can push others out.
    """

    def __init__(self, encoder: VisionEncoder, max_batch_patches: int) -> None:
        self._encoder = encoder
        self._device = encoder.post_layernorm.weight.device
        self._max_batch_patches = max_batch_patches
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, patches: NDArray[np.uint8], grid: Grid, gone: threading.Event) -> Future[Encoded]:
        """Queue one plane, uint8 [height * width, 588]; it is dropped once `gone` is set.

        The result raises what the forward pass raised for the batch that the plane was in.
        """
        job = _Job(patches, grid, gone)
        metrics.PATCHES_QUEUED.inc(len(patches))
        with self._changed:
            self._jobs.append(job)
            if self._closed:
                self._drop([job])
            self._changed.notify()
        return job.encoded

    def close(self) -> None:
        """Finish the batch that runs; drop what waits and what is submitted from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next_batch():
            started = time.monotonic()
            try:
                features = self._forward(batch)
            except Exception as error:  # noqa: BLE001 - the outermost loop: the requests of the batch raise it
                for job in batch:
                    job.encoded.set_exception(error)
                continue
            busy_s = (time.monotonic() - started) / len(batch)
            for job, rows in zip(batch, features, strict=True):
                job.encoded.set_result(Encoded(rows, busy_s))

    @torch.inference_mode()
    def _forward(self, batch: Sequence[_Job]) -> torch.Tensor:
        grid = batch[0].grid
        patches = torch.from_numpy(np.stack([job.patches for job in batch])).to(self._device)
        features: torch.Tensor = self._encoder(patches, grid.height, grid.width, grid.merge)
        return features.cpu()

    def _next_batch(self) -> list[_Job]:
        """The next jobs to do together, waiting for one; none when the batcher closes."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if self._closed:
                    self._drop(self._jobs)
                    return []
                self._drop([job for job in self._jobs if job.gone.is_set()])
                if batch := self._take():
                    return batch

    def _take(self) -> list[_Job]:
        batch: list[_Job] = []
        room = self._max_batch_patches
        for job in self._jobs:
            if not batch or (job.grid == batch[0].grid and len(job.patches) <= room):
                batch.append(job)
                room -= len(job.patches)
        self._jobs = deque(job for job in self._jobs if job not in batch)
        for job in batch:
            metrics.PATCHES_QUEUED.dec(len(job.patches))
        return batch

    def _drop(self, jobs: Sequence[_Job] | deque[_Job]) -> None:
        self._jobs = deque(job for job in self._jobs if job not in jobs)
        for job in jobs:
            metrics.PATCHES_QUEUED.dec(len(job.patches))
            job.encoded.set_exception(PlatformError(ErrorCode.CANCELLED, "the request was cancelled"))
