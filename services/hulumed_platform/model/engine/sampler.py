"""Draws the next token of one request."""

import secrets

import torch
from torch import Tensor

from hulumed_platform.model.engine.base import Sampling


class Sampler:
    """Greedy or seeded choice; the draw is made on the CPU so that a seed means the same on every device."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        self._generator = torch.Generator().manual_seed(seed)

    def choose(self, logits_V: Tensor) -> int:
        """Next token id from the logits [V] of the last position."""
        if self._sampling.temperature == 0.0:
            return int(logits_V.argmax())
        logits_V = logits_V.float().cpu()
        # Relative to the best one, which so stays 0 at any temperature; one that float32 takes for 0 would give 0 / 0.
        logits_V = (logits_V - logits_V.max()) / max(self._sampling.temperature, torch.finfo(torch.float32).tiny)
        probabilities_V = self._restrict(logits_V).softmax(-1)
        return int(torch.multinomial(probabilities_V, 1, generator=self._generator))

    def _restrict(self, logits_V: Tensor) -> Tensor:
        """Rules out all but the `top_k` most probable tokens, then all but those that make up `top_p`."""
        sorted_V, order_V = logits_V.sort(descending=True, stable=True)
        ruled_out_V = torch.zeros_like(sorted_V, dtype=torch.bool)
        if self._sampling.top_k:
            ruled_out_V[self._sampling.top_k :] = True
        if self._sampling.top_p < 1.0:
            p_V = sorted_V.masked_fill(ruled_out_V, -torch.inf).softmax(-1)
            # A token stays if those before it have not reached top_p.
            ruled_out_V |= p_V.cumsum(-1) - p_V >= self._sampling.top_p
            ruled_out_V[0] = False  # also for a top_p that float32 takes for 0
        sorted_V = sorted_V.masked_fill(ruled_out_V, -torch.inf)
        return torch.empty_like(sorted_V).scatter_(0, order_V, sorted_V)
