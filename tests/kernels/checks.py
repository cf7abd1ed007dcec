"""What the tests of all kernels share: where they run, in which types, how near is near, and guarded memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from hulumed_kernels.dispatch import KernelChoice

KERNEL = KernelChoice.TRITON
REFERENCE = KernelChoice.REFERENCE
OPS = ("merge_pack", "novelty", "patch_embed_input", "rope2d")

HAS_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if HAS_GPU else "cpu")
needs_gpu = pytest.mark.skipif(not HAS_GPU, reason="needs a CUDA device")
needs_interpreter = pytest.mark.skipif(HAS_GPU, reason="looks into Triton's interpreter, which runs without a device")

DTYPES = [
    pytest.param(torch.float32, id="fp32"),
    pytest.param(torch.float16, id="fp16"),
    pytest.param(torch.bfloat16, id="bf16", marks=[pytest.mark.gpu, needs_gpu]),
]
"""The interpreter computes in bfloat16 as no device does, so that type waits for one."""

TOLERANCE = {torch.float32: 2e-6, torch.float16: 5e-4, torch.bfloat16: 4e-3}
"""Relative root mean square error against float64. Rounding the result alone gives up to half a step of the type,
6e-8, 4.9e-4 and 3.9e-3; float32 leaves room for angles, whose rounding grows with the position (worst seen: 5e-7)."""

CANARY = 77.0
BORDER = 64


def assert_near(name: str, actual: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    """Compares with a result in float64; NaN is near nothing."""
    assert actual.dtype == dtype, f"{name} is {actual.dtype}"
    assert actual.shape == expected.shape, f"{name}: {tuple(actual.shape)} is not {tuple(expected.shape)}"
    difference = (actual.double() - expected.double()).detach()
    scale = float(expected.detach().double().norm())
    error = float(difference.norm())
    assert error <= TOLERANCE[dtype] * scale, f"{name}: error {error:g} beside values of {scale:g}"


def random(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Normal values."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(DEVICE, dtype)


def random_pixels(*shape: int, seed: int = 0) -> Tensor:
    """uint8 noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8).to(DEVICE)


@contextmanager
def guarded() -> Iterator[None]:
    """What kernels allocate meanwhile is full of NaN and lies between borders, which must be whole in the end."""
    memory = GuardedTorch()
    with pytest.MonkeyPatch.context() as patch:
        for op in OPS:
            patch.setattr(import_module(f"hulumed_kernels.{op}.kernel"), "torch", memory)
        yield
    memory.check()


class GuardedTorch:
    """Torch whose empty tensors are guarded."""

    def __init__(self) -> None:
        self.buffers: list[Tensor] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def empty(self, *shape: Any, **options: Any) -> Tensor:
        return self._place(torch.empty(*shape, **{**options, "device": "meta"}), options["device"])

    def empty_like(self, like: Tensor) -> Tensor:
        return self._place(torch.empty_like(like, device="meta"), like.device)

    def check(self) -> None:
        """Nothing was written beside the tensors."""
        for buffer in self.buffers:
            assert (buffer[:BORDER] == CANARY).all()
            assert (buffer[-BORDER:] == CANARY).all()

    def _place(self, like: Tensor, device: torch.device) -> Tensor:
        buffer = torch.full((like.numel() + 2 * BORDER,), torch.nan, dtype=like.dtype, device=device)
        buffer[:BORDER] = buffer[-BORDER:] = CANARY
        self.buffers.append(buffer)
        return buffer.as_strided(like.shape, like.stride(), BORDER)


def published(channels: int) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation of every channel: all 0.5."""
    return (0.5,) * channels, (0.5,) * channels


def uneven(channels: int) -> tuple[Sequence[float], Sequence[float]]:
    """Another mean and deviation in every channel."""
    return [0.2 + 0.15 * c for c in range(channels)], [0.5 - 0.1 * c for c in range(channels)]
