"""The batcher: planes of all requests in common batches, each result where it belongs, no request hurt by another."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from prometheus_client import REGISTRY

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.encoder.batching import Batcher, Encoded, Grid
from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.vision import VisionEncoder

SMALL, WIDE = Grid(2, 2, 1), Grid(2, 4, 2)
BROKEN = Grid(4, 4, 1)


class GatedEncoder(VisionEncoder):
    """The real encoder, which waits for the test before each forward pass and notes the planes in it."""

    def prepare(self) -> "GatedEncoder":
        self.gate = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.batches: list[int] = []
        return self

    def forward(self, patches_PNF: torch.Tensor, height: int, width: int, merge: int) -> torch.Tensor:  # noqa: N803
        self.batches.append(len(patches_PNF))
        self.entered.release()
        assert self.gate.acquire(timeout=10)
        if Grid(height, width, merge) == BROKEN:
            raise RuntimeError("out of memory")
        return super().forward(patches_PNF, height, width, merge)


@pytest.fixture
def encoder(checkpoint_dir: Path) -> GatedEncoder:
    torch.manual_seed(0)
    encoder = GatedEncoder(Checkpoint.open(checkpoint_dir).config.vision).eval()
    return encoder.requires_grad_(requires_grad=False).prepare()


@pytest.fixture
def batcher(encoder: GatedEncoder) -> Iterator[Batcher]:
    """Takes up to 16 patches into a batch; it is held in a first forward pass, so that what follows can gather."""
    batcher = Batcher(encoder, max_batch_patches=16)
    batcher.submit(patches(SMALL), SMALL, threading.Event())
    assert encoder.entered.acquire(timeout=5)
    yield batcher
    encoder.gate.release(100)
    batcher.close()


def patches(grid: Grid, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (grid.height * grid.width, 588), dtype=np.uint8)


def submitted(batcher: Batcher, *grids: Grid) -> list[Future[Encoded]]:
    gone = threading.Event()
    return [batcher.submit(patches(grid, seed), grid, gone) for seed, grid in enumerate(grids)]


def test_planes_of_equal_grid_share_a_forward_pass_up_to_the_limit(batcher: Batcher, encoder: GatedEncoder) -> None:
    """16 patches fit: four small planes go together, whoever asked; the fifth and the wide ones follow in turn."""
    futures = submitted(batcher, SMALL, SMALL, WIDE, SMALL, SMALL, SMALL, WIDE)
    encoder.gate.release(100)
    for future in futures:
        future.result(timeout=5)
    assert encoder.batches == [1, 4, 2, 1]


def test_each_plane_gets_its_own_features(batcher: Batcher, encoder: GatedEncoder) -> None:
    """Bit for bit those that it would have alone: nobody's answer depends on who else is served."""
    grids = [SMALL, WIDE, SMALL, SMALL, WIDE]
    futures = submitted(batcher, *grids)
    encoder.gate.release(100)
    for seed, (grid, future) in enumerate(zip(grids, futures, strict=True)):
        alone = encoder(torch.from_numpy(patches(grid, seed))[None], grid.height, grid.width, grid.merge)[0]
        assert torch.equal(future.result(timeout=5).features, alone)


def test_plane_above_the_limit_goes_alone(batcher: Batcher, encoder: GatedEncoder) -> None:
    """The limit bounds batches, it does not refuse large images."""
    large = Grid(8, 8, 1)
    (future,) = submitted(batcher, large)
    encoder.gate.release(100)
    assert future.result(timeout=5).features.shape[0] == 64


def test_failing_batch_fails_its_requests_only(batcher: Batcher, encoder: GatedEncoder) -> None:
    """One study too large for the device must not take the room down."""
    broken, fine = submitted(batcher, BROKEN, SMALL)
    encoder.gate.release(100)
    with pytest.raises(RuntimeError, match="out of memory"):
        broken.result(timeout=5)
    assert fine.result(timeout=5).features.shape[0] == 4


def test_plane_that_comes_after_the_end_is_refused(batcher: Batcher, encoder: GatedEncoder) -> None:
    """A request that outlives the drain must not keep the process waiting for ever."""
    encoder.gate.release(100)
    batcher.close()
    (late,) = submitted(batcher, SMALL)
    with pytest.raises(PlatformError) as caught:
        late.result(timeout=5)
    assert caught.value.code is ErrorCode.CANCELLED
    assert REGISTRY.get_sample_value("hulumed_patches_queued") == 0


def test_planes_of_a_request_that_left_are_not_encoded(batcher: Batcher, encoder: GatedEncoder) -> None:
    """Work for nobody is dropped, and the queue's gauge goes back to zero."""
    gone = threading.Event()
    dropped = batcher.submit(patches(SMALL), SMALL, gone)
    (kept,) = submitted(batcher, SMALL)
    gone.set()
    encoder.gate.release(100)
    kept.result(timeout=5)
    with pytest.raises(PlatformError) as caught:
        dropped.result(timeout=5)
    assert caught.value.code is ErrorCode.CANCELLED
    assert encoder.batches == [1, 1]
    assert REGISTRY.get_sample_value("hulumed_patches_queued") == 0
