"""Keeps the visual tokens that bring something new and projects them into the decoder's space."""

import numpy as np
import torch
from numpy.typing import NDArray

from hulumed_platform.model.compression import KeepRule
from hulumed_platform.model.projection import Projector


class Compressor:
    """Works on one plane at a time, so a study of any length needs the memory of a plane. Safe to use from threads."""

    def __init__(self, projector: Projector) -> None:
        self._projector = projector
        weight = next(projector.parameters())
        self._device, self._dtype = weight.device, weight.dtype

    @torch.inference_mode()
    def compress(
        self,
        features: torch.Tensor,
        novelty: NDArray[np.float32],
        rule: KeepRule,
        *,
        plane: int,
        num_planes: int,
        compressible: bool,
    ) -> tuple[torch.Tensor, NDArray[np.bool_]]:
        """Embeddings of the kept tokens, [kept, decoder hidden] on the CPU, and the mask, bool [tokens].

        Args:
            features: [tokens, vision hidden], in any float dtype.
            novelty: [tokens], as ingest measured it.
            rule: which tokens to keep.
            plane: index of the plane in its item.
            num_planes: planes of the item.
            compressible: False for images.
        """
        kept = rule.keep(novelty, plane=plane, num_planes=num_planes, compressible=compressible)
        chosen = features[torch.from_numpy(kept)].to(device=self._device, dtype=self._dtype)
        embeddings: torch.Tensor = self._projector(chosen)
        return embeddings.cpu(), kept
