"""`python -m benchmarks [PART …]`: measure and print ratios. Slow on purpose; nothing else should run meanwhile."""

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks import disaggregation, encoder, memory, overlap
from benchmarks.checkpoint import write_checkpoint
from benchmarks.measure import Row

PARTS: dict[str, Callable[[Path, Path], Iterator[Row]]] = {
    "encoder": encoder.rows,
    "overlap": overlap.rows,
    "rooms": disaggregation.rows,
    "memory": memory.rows,
}


def main(names: list[str]) -> int:
    """Run the named parts, or all; 2 where a name is wrong."""
    if unknown := set(names) - set(PARTS):
        print(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    print(f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, torch {torch.__version__}, float32")
    print("\n| part | case | quantity | first | second | first / second (all pairs) | aim |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint_dir = write_checkpoint(Path(folder, "checkpoint"))
        for name in names or PARTS:
            scratch = Path(folder, name)
            scratch.mkdir()
            for row in PARTS[name](checkpoint_dir, scratch):
                print(line(row), flush=True)
    return 0


def line(row: Row) -> str:
    """A row of the table."""
    first, second = (f"{name} {median:.3g} {row.unit}" for name, median in zip(row.names, row.medians, strict=True))
    ratio = f"**{row.ratio:.3g}**"
    if len(row.ratios) > 1:
        ratio += f" ({row.ratios[0]:.3g} to {row.ratios[-1]:.3g})"
    aim = "" if row.aim is None else f"{row.aim}: {'met' if row.aim.is_met(row.ratio) else 'MISSED'}"
    return f"| {row.part} | {row.case} | {row.quantity} | {first} | {second} | {ratio} | {aim} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
