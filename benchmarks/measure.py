"""Paired repeats, peak memory, and the rows that they become."""

import multiprocessing
import re
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

MEGABYTE = 1e6

_P = ParamSpec("_P")
_T = TypeVar("_T")


class NotEqualError(Exception):
    """Two ways that must give the same result do not: their speeds may not be compared."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What a ratio ought to be."""

    bound: float
    at_least: bool

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"

    def is_met(self, ratio: float) -> bool:
        """Whether a measured ratio is as it ought to be."""
        return ratio >= self.bound if self.at_least else ratio <= self.bound


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. The ratio is the first over the second, by pairs that were measured next to each other."""

    part: str
    case: str
    quantity: str
    unit: str
    names: tuple[str, str]
    pairs: tuple[tuple[float, float], ...]
    aim: Aim | None = None

    @property
    def medians(self) -> tuple[float, float]:
        """Of the first and of the second, over all pairs."""
        first, second = zip(*self.pairs, strict=True)
        return statistics.median(first), statistics.median(second)

    @property
    def ratios(self) -> tuple[float, ...]:
        """Of every pair, ascending."""
        return tuple(sorted(first / second for first, second in self.pairs))

    @property
    def ratio(self) -> float:
        """The median ratio of the pairs: what drifts while the benchmark runs hits both of a pair."""
        return statistics.median(self.ratios)


def paired(first: Callable[[], _T], second: Callable[[], _T], repeats: int) -> list[tuple[_T, _T]]:
    """Results of both, measured in turn; each goes first every other time."""
    results = []
    for repeat in range(repeats):
        if repeat % 2:
            result = second()
            results.append((first(), result))
        else:
            result = first()
            results.append((result, second()))
    return results


def in_fresh_process(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """The result of a function of a module, run in a process of its own that nothing was computed in before."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def peak_memory_bytes(pid: int | str = "self") -> int:
    """Most memory that a process ever had resident: `VmHWM` of proc(5)."""
    return _status_bytes(pid, "VmHWM")


def memory_bytes() -> int:
    """Resident memory of this process now; its peak is counted afresh from here (`clear_refs` of proc(5))."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_bytes("self", "VmRSS")


def megabytes(pairs: Sequence[tuple[int, int]]) -> tuple[tuple[float, float], ...]:
    """Pairs of bytes in MB."""
    return tuple((first / MEGABYTE, second / MEGABYTE) for first, second in pairs)


def _status_bytes(pid: int | str, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
