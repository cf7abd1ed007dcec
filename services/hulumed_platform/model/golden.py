"""Recorded results of the published code: `golden.safetensors` in a checkpoint folder, checked for sense.

Its tensors are named `CASE.NAME`. A case of planes records `frames_u8` uint8 [planes, H, W, 3], `grid_sizes` [items, 3]
(planes, height, width in patches), `merge_sizes` [items], and the results `pixel_values`, `encoder_out`, `projected`,
`keep_mask`; every case records `input_ids` and the results `logits` and `generated`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hulumed_platform.model.errors import CheckpointError

GOLDEN_FILE = "golden.safetensors"

_INPUTS = ("frames_u8", "grid_sizes", "merge_sizes")
_VISUAL = (*_INPUTS, "pixel_values", "encoder_out", "projected", "keep_mask")
_TEXT = ("input_ids", "logits", "generated")
_INTEGERS = ("grid_sizes", "merge_sizes", "input_ids", "generated")
_FLOATS = ("pixel_values", "encoder_out", "projected", "logits")
_FRAME_DIMS = 4
_CHANNELS = 3


@dataclass(frozen=True, slots=True, eq=False)
class GoldenItem:
    """Planes of one grid."""

    frames: NDArray[np.uint8]
    """[planes, H, W, 3]"""
    height: int
    """Of the grid, in patches."""
    width: int
    merge: int


@dataclass(frozen=True, slots=True, eq=False)
class GoldenCase:
    """What is recorded of one request."""

    name: str
    items: tuple[GoldenItem, ...]
    """None for a case of text alone."""
    recorded: Mapping[str, Tensor]
    """By their names without the case."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Results that a case has and this one does not."""
        return tuple(name for name in (*(_VISUAL if self.items else ()), *_TEXT) if name not in self.recorded)


def read_cases(folder: Path) -> list[GoldenCase]:
    """The cases of a folder by name.

    Raises:
        CheckpointError: the file cannot be read, holds no case, or contradicts itself.
    """
    path = folder / GOLDEN_FILE
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as a record of the published code: {error}") from error
    cases: dict[str, dict[str, Tensor]] = {}
    for full_name, tensor in sorted(tensors.items()):
        case, _, name = full_name.rpartition(".")
        # An empty tensor records nothing.
        if case and name in (*_VISUAL, *_TEXT) and tensor.numel():
            cases.setdefault(case, {})[name] = tensor
    if not cases:
        raise CheckpointError(f"{path} holds no case: no tensor is named CASE.frames_u8 or CASE.input_ids")
    return [GoldenCase(case, _items(case, recorded), recorded) for case, recorded in cases.items()]


def _items(case: str, recorded: Mapping[str, Tensor]) -> tuple[GoldenItem, ...]:
    _check_types(case, recorded)
    if not recorded.keys() & set(_VISUAL):
        return ()
    if lacking := [name for name in _INPUTS if name not in recorded]:
        raise CheckpointError(f"case {case!r} lacks the tensor {case}.{lacking[0]}")
    frames = recorded["frames_u8"].numpy()
    grids, merges = _grids(case, recorded)
    if sum(planes for planes, _, _ in grids) != len(frames):
        raise CheckpointError(f"case {case!r}: grid_sizes speak of other planes than the {len(frames)} of frames_u8")
    ends = np.cumsum([planes for planes, _, _ in grids])
    return tuple(
        GoldenItem(frames[end - planes : end], height, width, merge)
        for end, (planes, height, width), merge in zip(ends, grids, merges, strict=True)
    )


def _grids(case: str, recorded: Mapping[str, Tensor]) -> tuple[list[tuple[int, int, int]], list[int]]:
    merges = recorded["merge_sizes"].flatten().tolist()
    if recorded["grid_sizes"].numel() != 3 * len(merges):
        raise CheckpointError(f"case {case!r}: {case}.grid_sizes is not one row of three numbers for each merge size")
    grids = [tuple(grid) for grid in recorded["grid_sizes"].reshape(-1, 3).tolist()]
    if min(*merges, *(length for grid in grids for length in grid), 1) < 1:
        raise CheckpointError(f"case {case!r}: grid_sizes and merge_sizes must be positive")
    if any(side % merge for (_, *sides), merge in zip(grids, merges, strict=True) for side in sides):
        raise CheckpointError(f"case {case!r}: a grid of {case}.grid_sizes does not divide by its merge size")
    return grids, merges


def _check_types(case: str, recorded: Mapping[str, Tensor]) -> None:
    for name, tensor in recorded.items():
        is_integer = not (tensor.is_floating_point() or tensor.dtype is torch.bool)
        if (name in _INTEGERS and not is_integer) or (name in _FLOATS and not tensor.is_floating_point()):
            kind = "integers" if name in _INTEGERS else "floating point numbers"
            raise CheckpointError(f"case {case!r}: {case}.{name} must hold {kind}, not {tensor.dtype}")
    frames = recorded.get("frames_u8")
    if frames is not None and not (
        frames.dtype is torch.uint8 and frames.ndim == _FRAME_DIMS and frames.shape[-1] == _CHANNELS
    ):
        raise CheckpointError(
            f"case {case!r}: {case}.frames_u8 must be uint8 [planes, H, W, 3], "
            f"not {str(frames.dtype).removeprefix('torch.')} {list(frames.shape)}"
        )
