"""Planes made of arrays, shaped as `imaging.prepare` yields them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hulumed_platform.imaging.patches import novelty, patchify
from hulumed_platform.imaging.types import PATCH_SIZE, Item, Kind, PlaneSource, PreparedPlane


@dataclass(frozen=True)
class ArrayPlanes:
    """A preparation of items given as uint8 arrays [planes, height, width, 3], one medium each."""

    items: Sequence[Item]
    frames: Sequence[NDArray[np.uint8]]

    @classmethod
    def of(cls, *media: tuple[Kind, NDArray[np.uint8]]) -> "ArrayPlanes":
        """One item for each kind and array."""
        items = [_item(index, kind, frames) for index, (kind, frames) in enumerate(media)]
        return cls(items, [frames for _, frames in media])

    def planes(self) -> Iterator[PreparedPlane]:
        """Planes item by item."""
        for index, (item, frames) in enumerate(zip(self.items, self.frames, strict=True)):
            patches = patchify(frames, merge=item.merge)
            for plane, current in enumerate(patches):
                new = np.full(item.tokens_per_plane, np.inf, dtype=np.float32)
                if plane:
                    new = novelty(current, patches[plane - 1], item.merge)
                yield PreparedPlane(index, plane, current, new)


def _item(index: int, kind: Kind, frames: NDArray[np.uint8]) -> Item:
    planes, height_px, width_px, _ = frames.shape
    return Item(
        media=index,
        kind=kind,
        height=height_px // PATCH_SIZE,
        width=width_px // PATCH_SIZE,
        merge=kind.merge,
        planes=tuple(PlaneSource("sha256:0", None, None, n, time_s=float(n)) for n in range(planes)),
        modality=None,
        description=kind.value,
        series_instance_uid=None,
        notes=(),
    )


def slowly_changing(planes: int, height_px: int, width_px: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise in which each plane redraws the upper or lower half of the one before, so that some tokens are pruned."""
    generator = np.random.default_rng(seed)
    frames = np.empty((planes, height_px, width_px, 3), dtype=np.uint8)
    frames[0] = generator.integers(0, 256, frames.shape[1:], dtype=np.uint8)
    for n in range(1, planes):
        frames[n] = frames[n - 1]
        half = frames[n, : height_px // 2] if n % 2 else frames[n, height_px // 2 :]
        half[:] = generator.integers(0, 256, half.shape, dtype=np.uint8)
    return frames
