"""Encoding many planes: batches of planes against one sequence under a dense mask, as published."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from benchmarks.dense_reference import encode_dense
from benchmarks.measure import Aim, NotEqualError, Row, in_fresh_process, megabytes, memory_bytes, peak_memory_bytes
from hulumed_platform.model.config import VisionConfig
from hulumed_platform.model.vision import VisionEncoder

NUM_PLANES = (8, 32, 128)
GRID = 20
"""Patches on each side of a plane: about what the published token budget leaves to 128 planes of a CT."""
MERGE = 2
BATCH = 8
"""Planes of a forward pass, as in the encoder room for one request."""
LAYERS = 1
"""Of the published 27: both ways do the same work in every layer, so the number of layers cancels out of the ratio."""
TOLERANCE = 1e-4
AIM = Aim(10.0, at_least=True)

Variant = Literal["dense", "ours"]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call in a process of its own."""

    seconds: float
    peak_bytes: int
    """Above what the process had with weights and input loaded."""


def rows(_checkpoint_dir: Path, _scratch: Path) -> Iterator[Row]:
    """Time and peak memory at every number of planes, once the two ways are known to agree.

    The weights are those of published width, made here: the checkpoint of the other parts is too small to tell.
    """
    in_fresh_process(check_equal, 8)
    for num_planes in NUM_PLANES:
        dense = in_fresh_process(cost, "dense", num_planes)
        ours = in_fresh_process(cost, "ours", num_planes)
        case = f"{num_planes} planes of {GRID} x {GRID} patches"
        aim = AIM if num_planes == max(NUM_PLANES) else None
        names = ("dense mask", "ours")
        yield Row("encoder", case, "time", "s", names, ((dense.seconds, ours.seconds),), aim)
        peaks = megabytes([(dense.peak_bytes, ours.peak_bytes)])
        yield Row("encoder", case, "peak memory", "MB", names, peaks, aim)


def check_equal(num_planes: int) -> None:
    """Raises NotEqualError where the two ways do not give the same features."""
    encoder, patches = _encoder(), _patches(num_planes)
    difference = float((_ours(encoder, patches) - _dense(encoder, patches)).abs().max())
    if not difference <= TOLERANCE:
        raise NotEqualError(f"features differ by {difference:g}, more than {TOLERANCE:g}")


def cost(variant: Variant, num_planes: int) -> Cost:
    """Of encoding, after a warm call over two planes; short calls are repeated for their median."""
    encoder, patches = _encoder(), _patches(num_planes)
    encode = _ours if variant == "ours" else _dense
    encode(encoder, patches[:2])
    before = memory_bytes()
    seconds = [_seconds(encode, encoder, patches)]
    peak_bytes = peak_memory_bytes() - before
    while sum(seconds) < 2.0:
        seconds.append(_seconds(encode, encoder, patches))
    return Cost(statistics.median(seconds), peak_bytes)


def _seconds(encode: Callable[[VisionEncoder, Tensor], Tensor], encoder: VisionEncoder, patches: Tensor) -> float:
    started = time.perf_counter()
    encode(encoder, patches)
    return time.perf_counter() - started


@torch.inference_mode()
def _ours(encoder: VisionEncoder, patches: Tensor) -> Tensor:
    return torch.cat([encoder(batch, GRID, GRID, MERGE) for batch in torch.split(patches, BATCH)])


def _dense(encoder: VisionEncoder, patches: Tensor) -> Tensor:
    return encode_dense(encoder, patches, GRID, GRID, MERGE)


def _encoder() -> VisionEncoder:
    """Blocks of published width with seeded weights."""
    torch.manual_seed(0)
    config = VisionConfig(
        hidden_size=1152,
        intermediate_size=4304,
        num_layers=LAYERS,
        num_heads=16,
        patch_size=14,
        num_channels=3,
        gelu="tanh",
        layer_norm_eps=1e-6,
        pixel_mean=(0.5, 0.5, 0.5),
        pixel_std=(0.5, 0.5, 0.5),
    )
    return VisionEncoder(config).eval()


def _patches(num_planes: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (num_planes, GRID * GRID, 588), dtype=torch.uint8, generator=generator)
