"""Times on the device, and the speed of a copy beside which they are read."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

TOLERANCE = 2e-2
"""Relative error between ways to the same result, in bfloat16: a few steps of the type."""


class NotEqualError(Exception):
    """Two ways that must give the same result do not: their speeds may not be compared."""


def milliseconds(run: Callable[[], Any]) -> float:
    """Median time on the device of one call, with a cold cache; infinite where the memory does not suffice."""
    import triton.testing

    try:
        return float(triton.testing.do_bench(run, warmup=50, rep=300, return_mode="median"))
    except torch.OutOfMemoryError:
        return float("inf")


def copy_milliseconds(num_bytes: int, device: torch.device) -> float:
    """Of a plain copy that reads half of the bytes and writes the other half."""
    source = torch.zeros(max(1, num_bytes // 2), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return milliseconds(lambda: target.copy_(source))


def check_equal(name: str, first: object, second: object) -> None:
    """Compares tensors, or tuples of them.

    Raises:
        NotEqualError: they differ by more than rounding.
    """
    for one, other in zip(_tensors(first), _tensors(second), strict=True):
        finite = other.isfinite()
        difference = (one.double() - other.double())[finite].norm()
        if not difference <= TOLERANCE * other[finite].double().norm():
            raise NotEqualError(f"{name}: results differ by {float(difference):g}")


def _tensors(result: object) -> list[Tensor]:
    tensors = []
    for tensor in result if isinstance(result, tuple) else (result,):
        assert isinstance(tensor, Tensor)
        tensors.append(tensor)
    return tensors
