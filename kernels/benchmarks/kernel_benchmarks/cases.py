"""Every op at a shape: the kernel, PyTorch plain and compiled on equal arguments, and the bytes that must move."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hulumed_kernels.dispatch import KernelChoice
from hulumed_kernels.merge_pack import merge_pack
from hulumed_kernels.novelty import novelty
from hulumed_kernels.patch_embed_input import patch_embed_input
from hulumed_kernels.rope2d import prepare, rope2d
from hulumed_platform.model.vision import patch_positions, rotary_frequencies
from kernel_benchmarks.compiled import compiled
from kernel_benchmarks.registry import HALF, HEAD_DIM, HEADS, HIDDEN, Shape

Run = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Case:
    """An op at a shape."""

    op: str
    shape: str
    num_bytes: int
    """Read once and written once: what no implementation can do without."""
    kernel: Run
    eager: Run
    compiled: Run
    least_share_of_copy: float | None = None
    """Aim: bytes a second over those of a plain copy."""
    least_over_eager: float | None = None
    """Aim: time of plain PyTorch over that of the kernel."""


def cases(shape: Shape, device: torch.device, dtype: torch.dtype) -> Iterator[Case]:
    """All ops at a shape; the forward passes without gradients, as in serving."""
    yield _patch_embed_input(shape, device, dtype)
    if shape.planes > 1:
        yield _novelty(shape, device)
    yield _rope2d(shape, device, dtype)
    yield _rope2d_training(shape, device, dtype)
    yield _merge_pack(shape, device, dtype, keep_PK=None)
    if shape.share_kept is not None:
        yield _merge_pack(shape, device, dtype, shape.keep())
    yield _merge_pack_training(shape, device, dtype)


def _patch_embed_input(shape: Shape, device: torch.device, dtype: torch.dtype) -> Case:
    pixels = shape.pixels(device)
    arguments = (pixels, HALF, HALF, dtype)
    num_bytes = pixels.numel() * (1 + dtype.itemsize)
    return Case(
        "patch_embed_input", shape.name, num_bytes, *_served(patch_embed_input, arguments), least_share_of_copy=0.85
    )


def _novelty(shape: Shape, device: torch.device) -> Case:
    pixels = shape.pixels(device)
    num_bytes = pixels.numel() + 4 * shape.planes * shape.tokens
    return Case(
        "novelty", shape.name, num_bytes, *_served(novelty, (pixels, shape.merge, HALF)), least_share_of_copy=0.85
    )


def _rope2d(shape: Shape, device: torch.device, dtype: torch.dtype) -> Case:
    """The kernel works in place; turning the same values again and again leaves them the size they are."""
    q, k = _heads(shape.features(device, dtype)), _heads(shape.features(device, dtype))
    runs = (
        _without_gradients(
            partial(rope2d, q, k, *_rotation(shape, device, KernelChoice.TRITON), choice=KernelChoice.TRITON)
        ),
        *_plain(rope2d, (q, k, *_rotation(shape, device, KernelChoice.REFERENCE))),
    )
    return Case("rope2d", shape.name, 4 * q.nbytes, *runs, least_over_eager=1.5)


def _rope2d_training(shape: Shape, device: torch.device, dtype: torch.dtype) -> Case:
    q, k = (_heads(shape.features(device, dtype)).requires_grad_() for _ in "qk")
    plain = partial(rope2d, choice=KernelChoice.REFERENCE)
    tables = _rotation(shape, device, KernelChoice.REFERENCE)
    runs = (
        _trained(partial(rope2d, choice=KernelChoice.TRITON), (q, k), _rotation(shape, device, KernelChoice.TRITON)),
        _trained(plain, (q, k), tables),
        _trained(compiled(plain), (q, k), tables),
    )
    return Case("rope2d, forward and backward", shape.name, 8 * q.nbytes, *runs)


def _merge_pack(shape: Shape, device: torch.device, dtype: torch.dtype, keep_PK: Tensor | None) -> Case:
    x = shape.features(device, dtype)
    rows = shape.planes * shape.tokens if keep_PK is None else int(keep_PK.sum())
    name = "merge_pack, all kept" if keep_PK is None else f"merge_pack, {shape.share_kept:.0%} kept"
    runs = _served(merge_pack, (x, shape.merge, keep_PK))
    return Case(name, shape.name, _merged_bytes(rows, shape, dtype), *runs, least_share_of_copy=0.85)


def _merge_pack_training(shape: Shape, device: torch.device, dtype: torch.dtype) -> Case:
    x, keep_PK = shape.features(device, dtype).requires_grad_(), shape.keep()
    rows = shape.planes * shape.tokens if keep_PK is None else int(keep_PK.sum())
    num_bytes = _merged_bytes(rows, shape, dtype) + x.nbytes + rows * HIDDEN * dtype.itemsize
    plain = partial(merge_pack, choice=KernelChoice.REFERENCE)
    runs = (
        _trained(partial(merge_pack, choice=KernelChoice.TRITON), (x,), (shape.merge, keep_PK)),
        _trained(plain, (x,), (shape.merge, keep_PK)),
        _trained(compiled(plain), (x,), (shape.merge, keep_PK)),
    )
    return Case("merge_pack, forward and backward", shape.name, num_bytes, *runs)


def _merged_bytes(rows: int, shape: Shape, dtype: torch.dtype) -> int:
    """Of merging `rows` tokens; squares of 1 and 2 are read whole."""
    return rows * HIDDEN * dtype.itemsize * (shape.merge**2 + 1)


def _heads(x_PND: Tensor) -> Tensor:
    return x_PND.view(*x_PND.shape[:2], HEADS, HEAD_DIM).transpose(1, 2)


def _rotation(shape: Shape, device: torch.device, choice: KernelChoice) -> tuple[Tensor, Tensor]:
    positions_N2 = patch_positions(shape.height, shape.width, shape.merge, device)
    return prepare(positions_N2, rotary_frequencies(HEAD_DIM, device), choice=choice)


def _served(op: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Run, Run, Run]:
    kernel = _without_gradients(partial(op, *arguments, choice=KernelChoice.TRITON))
    return kernel, *_plain(op, arguments)


def _plain(op: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Run, Run]:
    plain = partial(op, choice=KernelChoice.REFERENCE)
    return _without_gradients(partial(plain, *arguments)), _without_gradients(partial(compiled(plain), *arguments))


def _without_gradients(run: Run) -> Run:
    @torch.no_grad()
    def without() -> Any:
        return run()

    return without


def _trained(op: Callable[..., Any], inputs: tuple[Tensor, ...], others: tuple[Any, ...]) -> Run:
    """The op and the gradients of its inputs, given the result itself as the gradient from above."""

    def run() -> Any:
        results = op(*inputs, *others)
        results = results if isinstance(results, tuple) else (results,)
        return torch.autograd.grad(results, inputs, [result.detach() for result in results])

    return run
