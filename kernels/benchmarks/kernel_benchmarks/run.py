"""`python kernels/benchmarks`: the tests as a gate, then the tables of `kernels/README.md`."""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from kernel_benchmarks import attention, encoders
from kernel_benchmarks.cases import Case, cases
from kernel_benchmarks.gate import is_green
from kernel_benchmarks.measure import check_equal, copy_milliseconds, milliseconds
from kernel_benchmarks.registry import SHAPES

DTYPE = torch.bfloat16
LEAST_OVER_COMPILED = 1.2
LEAST_OVER_PUBLISHED = 3.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Times of one case, in milliseconds."""

    case: Case
    kernel: float
    eager: float
    compiled: float
    copy: float
    """Of a copy that moves as many bytes."""

    @property
    def share_of_copy(self) -> float:
        """Bytes a second over those of the copy."""
        return self.copy / self.kernel

    @property
    def is_as_aimed(self) -> bool | None:
        """Whether the aim of the case is met; None where it has none."""
        if self.case.least_share_of_copy is not None:
            return self.share_of_copy >= self.case.least_share_of_copy
        if self.case.least_over_eager is not None:
            return self.eager / self.kernel >= self.case.least_over_eager
        return None


def main() -> None:
    """Prints the tables, or says why it does not and leaves with 1."""
    if not torch.cuda.is_available():
        sys.exit("the benchmarks of the kernels need a CUDA device, and there is none: nothing was measured")
    if not is_green():
        sys.exit("the tests of the kernels fail on this device: nothing was measured")
    device = torch.device("cuda")
    print(f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}, {DTYPE}, `python kernels/benchmarks`\n")
    measured = [measure(case, device) for shape in SHAPES for case in cases(shape, device, DTYPE)]
    _print_table(op_rows(measured))
    print(f"\nOver compiled PyTorch, geometric mean: {over_compiled(measured):.2f} (aim {LEAST_OVER_COMPILED})\n")
    _print_table(_encoder_rows(device))
    print(f"\nAim over published: {LEAST_OVER_PUBLISHED}\n")
    _print_table(_attention_rows(device))


def measure(case: Case, device: torch.device) -> Measured:
    """Times of a case whose three ways agree.

    Raises:
        NotEqualError: they do not.
    """
    expected = case.eager()  # before the kernel, which may work in place
    check_equal(case.op, case.kernel(), expected)
    return Measured(
        case,
        kernel=milliseconds(case.kernel),
        eager=milliseconds(case.eager),
        compiled=milliseconds(case.compiled),
        copy=copy_milliseconds(case.num_bytes, device),
    )


def op_rows(measured: Iterable[Measured]) -> Iterator[tuple[str, ...]]:
    """The table of the ops, its head first."""
    yield ("op", "shape", "MB", "ms", "GB/s", "of copy", "eager / kernel", "compiled / kernel", "as aimed")
    for one in measured:
        yield (
            one.case.op,
            one.case.shape,
            f"{one.case.num_bytes / 1e6:.0f}",
            f"{one.kernel:.3f}",
            f"{one.case.num_bytes / one.kernel / 1e6:.0f}",
            f"{one.share_of_copy:.0%}",
            f"{one.eager / one.kernel:.2f}",
            f"{one.compiled / one.kernel:.2f}",
            {None: "", True: "yes", False: "no"}[one.is_as_aimed],
        )


def over_compiled(measured: Iterable[Measured]) -> float:
    """Geometric mean over all cases of the time of compiled PyTorch over that of the kernel."""
    logarithms = [math.log(one.compiled / one.kernel) for one in measured]
    return math.exp(sum(logarithms) / len(logarithms))


def _encoder_rows(device: torch.device) -> Iterator[tuple[str, ...]]:
    yield ("encoder", *(f"{name}, ms" for name in _ENCODERS), "published / with kernels")
    for shape in SHAPES:
        times = _times(encoders.encoders(shape, device, DTYPE), _ENCODERS)
        ratio = times[encoders.DENSE] / times[encoders.KERNELS]
        yield (shape.name, *(f"{times[name]:.1f}" for name in _ENCODERS), f"{ratio:.2f}")


def _attention_rows(device: torch.device) -> Iterator[tuple[str, ...]]:
    yield ("attention inside unequal planes", "ms", "over the fastest")
    times = _times(attention.attentions(device, DTYPE), _ATTENTIONS)
    for name, time in times.items():
        yield (name, f"{time:.3f}", f"{time / min(times.values()):.2f}")


_ENCODERS = (encoders.KERNELS, encoders.PLAIN, encoders.COMPILED, encoders.DENSE)
_ATTENTIONS = (attention.BUCKETED, attention.NESTED, attention.PADDED, attention.DENSE)


def _times(ways: Mapping[str, Callable[[], Tensor]], names: tuple[str, ...]) -> dict[str, float]:
    """Of ways that agree with the first, by name."""
    times = {name: milliseconds(ways[name]) for name in names}
    expected = ways[names[0]]()
    for name in names:
        if times[name] < math.inf:
            check_equal(name, ways[name](), expected)
    return times


def _print_table(rows: Iterable[tuple[str, ...]]) -> None:
    for index, row in enumerate(rows):
        print("| " + " | ".join(row) + " |")
        if index == 0:
            print("|" + " --- |" * len(row))
