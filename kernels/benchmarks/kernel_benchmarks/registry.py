"""The shapes that all is measured at, registered once: what the published token budget leaves of three studies."""

from dataclasses import dataclass

import torch
from torch import Tensor

FEATURES = 588
HIDDEN = 1152
INTERMEDIATE = 4304
LAYERS = 27
HEADS = 16
HEAD_DIM = 72
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Shape:
    """Planes of one grid."""

    name: str
    planes: int
    height: int
    """Patch rows of a plane."""
    width: int
    merge: int
    share_kept: float | None
    """Tokens that the keep rule leaves; None for images, which are kept whole."""

    @property
    def patches(self) -> int:
        """Patches of a plane."""
        return self.height * self.width

    @property
    def tokens(self) -> int:
        """Tokens of a plane."""
        return self.patches // self.merge**2

    def pixels(self, device: torch.device) -> Tensor:
        """uint8 noise [P, N, 588], the same on every call."""
        generator = torch.Generator(device).manual_seed(0)
        size = (self.planes, self.patches, FEATURES)
        return torch.randint(0, 256, size, dtype=torch.uint8, device=device, generator=generator)

    def features(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Normal values [P, N, hidden], the same on every call."""
        generator = torch.Generator(device).manual_seed(0)
        size = (self.planes, self.patches, HIDDEN)
        return torch.randn(size, dtype=dtype, device=device, generator=generator)

    def keep(self) -> Tensor | None:
        """A mask of kept tokens, bool [P, K] on the CPU."""
        if self.share_kept is None:
            return None
        return torch.rand(self.planes, self.tokens, generator=torch.Generator().manual_seed(0)) < self.share_kept


SHAPES = (
    Shape("volume, 160 slices of 512²", planes=160, height=20, width=20, merge=2, share_kept=0.45),
    Shape("image, 1792²", planes=1, height=128, width=128, merge=1, share_kept=None),
    Shape("video, 128 frames of 640 x 480", planes=128, height=18, width=26, merge=2, share_kept=0.45),
)
