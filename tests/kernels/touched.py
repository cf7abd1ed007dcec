"""Runs one program of a kernel alone and notes the memory it would touch, instead of touching it.

So the last program of a study that would fill a hundred gigabytes can be looked at.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor
from triton.runtime import interpreter


@dataclass(frozen=True)
class Access:
    """The values that one load or store of the program touches."""

    addresses: NDArray[np.uint64]
    is_store: bool

    def elements(self, tensor: Tensor) -> NDArray[np.int64]:
        """Their indices in a tensor that starts where this one does, however long it may be."""
        return (self.addresses.astype(np.int64) - tensor.data_ptr()) // tensor.itemsize


def accesses(kernel: Any, program: int, arguments: tuple[Any, ...], constants: Mapping[str, Any]) -> list[Access]:
    """What program number `program` of a kernel touches, in the order of its loads and stores; loads give zeros."""
    builder = interpreter.interpreter_builder
    found: list[Access] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "set_grid_idx", lambda *_: setattr(builder, "grid_idx", (program, 0, 0)))
        patch.setattr(builder, "create_masked_load", _noted(found, builder.create_masked_load, is_store=False))
        patch.setattr(builder, "create_masked_store", _noted(found, builder.create_masked_store, is_store=True))
        kernel[(1,)](*arguments, **constants)
    return found


def _noted(found: list[Access], original: Callable[..., Any], *, is_store: bool) -> Callable[..., Any]:
    """The original with nothing under its mask; what was under it is noted."""

    def access(*arguments: Any) -> Any:
        mask_at = 2 if is_store else 1
        pointers, mask = arguments[0], arguments[mask_at]
        found.append(Access(pointers.data[mask.data.astype(bool)], is_store))
        nothing = type(mask)(np.zeros_like(mask.data), mask.dtype)
        return original(*arguments[:mask_at], nothing, *arguments[mask_at + 1 :])

    return access
