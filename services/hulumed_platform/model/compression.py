"""Medical-aware token reduction: which visual tokens of a plane are worth the language model's time.

Source: Hulu-Med (arXiv 2510.08668) and its published code, which gates tokens of adjacent planes by the L1 distance of
their pixels. The distance of a token, its *novelty*, is computed where the pixels are; this module only decides.

Shape suffixes: K tokens of one plane.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class Policy(StrEnum):
    """How tokens of volumes and videos are chosen; images and single planes are always kept whole."""

    HULUMED = "hulumed"
    """First plane whole, then tokens whose novelty exceeds the threshold: the rule as it was meant."""

    UPSTREAM = "upstream"
    """The published code, defect included: the first plane's score is divided by 255, which cuts it to `min_tokens`."""

    NONE = "none"
    """Keep every token."""


@dataclass(frozen=True, slots=True)
class KeepRule:
    """The keep rule of a request. The defaults are the constants of the published code."""

    policy: Policy = Policy.HULUMED
    threshold: float = 0.1
    """Novelty a token must exceed, in normalised pixel units (full scale is 2.0)."""
    min_tokens: int = 1
    """A plane left with fewer tokens keeps its first `min_tokens` tokens (top left), so that no plane vanishes."""

    def keep(
        self, novelty_K: NDArray[np.float32], *, plane: int, num_planes: int, compressible: bool
    ) -> NDArray[np.bool_]:
        """Returns the mask of kept tokens, bool [K].

        Args:
            novelty_K: mean absolute difference of each token's pixels to the plane before, float32 [K], in
                normalised units; the values of plane 0 are not read.
            plane: index of the plane in its item, from 0.
            num_planes: planes of the item.
            compressible: False for images, which are never pruned.
        """
        if self.policy is Policy.NONE or not compressible or num_planes == 1:
            return np.ones(novelty_K.shape, dtype=np.bool_)
        if plane == 0:
            novelty_K = np.full_like(novelty_K, self._first_plane_novelty())
        kept_K: NDArray[np.bool_] = novelty_K > np.float32(self.threshold)
        if kept_K.sum() < self.min_tokens:
            kept_K[: self.min_tokens] = True
        return kept_K

    def _first_plane_novelty(self) -> float:
        # The published code marks plane 0 with threshold + 1 and then divides all scores by 255.
        return (self.threshold + 1.0) / 255.0 if self.policy is Policy.UPSTREAM else np.inf
