"""The whole encoder at a shape, with kernels, without, compiled, and as published."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hulumed_kernels.dispatch import KernelChoice
from hulumed_platform.model.config import VisionConfig
from hulumed_platform.model.vision import VisionEncoder
from kernel_benchmarks.compiled import compiled
from kernel_benchmarks.published import encode_published
from kernel_benchmarks.registry import HALF, HEADS, HIDDEN, INTERMEDIATE, LAYERS, Shape

PUBLISHED = VisionConfig(HIDDEN, INTERMEDIATE, LAYERS, HEADS, 14, 3, "tanh", 1e-6, HALF, HALF)
BATCH_PATCHES = 16384
"""Of a forward pass, as in the encoder room."""

KERNELS, PLAIN, COMPILED, DENSE = "with kernels", "without", "compiled without", "published"


def encoders(
    shape: Shape, device: torch.device, dtype: torch.dtype, config: VisionConfig = PUBLISHED
) -> Mapping[str, Callable[[], Tensor]]:
    """Ways to encode a study with the same random weights; all give the same features."""
    with_kernels, plain = (
        encoder(config, choice, device, dtype) for choice in (KernelChoice.TRITON, KernelChoice.REFERENCE)
    )
    compiled_plain = compiled(plain)
    pixels, grid = shape.pixels(device), (shape.height, shape.width, shape.merge)
    return {
        KERNELS: lambda: _batched(with_kernels, pixels, grid),
        PLAIN: lambda: _batched(plain, pixels, grid),
        COMPILED: lambda: _batched(compiled_plain, pixels, grid),
        DENSE: lambda: encode_published(plain, pixels, *grid),
    }


def encoder(config: VisionConfig, choice: KernelChoice, device: torch.device, dtype: torch.dtype) -> VisionEncoder:
    """An encoder with seeded weights."""
    torch.manual_seed(0)
    return VisionEncoder(config, choice).to(device, dtype).eval().requires_grad_(requires_grad=False)


@torch.inference_mode()
def _batched(encoder: Callable[..., Tensor], pixels_PNF: Tensor, grid: tuple[int, int, int]) -> Tensor:
    batches = torch.split(pixels_PNF, max(1, BATCH_PATCHES // pixels_PNF.shape[1]))
    return torch.cat([encoder(batch, *grid) for batch in batches])
