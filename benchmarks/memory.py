"""Peak memory of every room while it works on a short and on a long series: the long one must stream."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.asking import Asked, ask_rooms
from benchmarks.inputs import changing, write_series
from benchmarks.measure import Aim, Row, megabytes, peak_memory_bytes
from benchmarks.rooms import running_rooms
from tests.support.chain import ROOMS

FEW, MANY = 200, 2000
SIDE_PX = 512
CHANGE = 0.05
AIM = Aim(1.1, at_least=False)


def rows(checkpoint_dir: Path, scratch: Path) -> Iterator[Row]:
    """Each number of planes has rooms of its own, since a peak never sinks."""
    few, many = (_peaks(checkpoint_dir, scratch / str(count), count) for count in (FEW, MANY))
    for room in ROOMS:
        pair = megabytes([(many[room], few[room])])
        names = (f"{MANY:,} planes", f"{FEW} planes")
        yield Row("memory", f"{room}, {SIDE_PX} x {SIDE_PX} slices", "peak memory", "MB", names, pair, AIM)


def _peaks(checkpoint_dir: Path, folder: Path, num_planes: int) -> Mapping[str, int]:
    folder.mkdir()
    with running_rooms(checkpoint_dir, folder / "rooms") as chain:
        series = chain.store(*write_series(folder / "series", changing(num_planes, SIDE_PX, CHANGE)))
        ask_rooms(chain, Asked(series, num_planes))
        return {room: peak_memory_bytes(chain.processes[room].pid) for room in ROOMS}
