"""The four rooms as processes, with threads that are counted, and the cores that they may use."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.chain import ROOMS, Chain, chain_of_processes

UPSTREAM = {"encoder": "ingest_address", "compressor": "encoder_address", "decoder": "compressor_address"}
"""The setting of each room that names the room before it."""


@contextmanager
def running_rooms(checkpoint_dir: Path, folder: Path, *, threads: int = 1, relay: str | None = None) -> Iterator[Chain]:
    """Start the rooms afresh; all are warm when the block begins and gone when it ends.

    Args:
        checkpoint_dir: whose parts they load.
        folder: for objects and logs; made.
        threads: that one operation of torch may use in each room.
        relay: address that each room asks instead of the room before it.
    """
    folder.mkdir()
    settings: dict[str, dict[str, Any]] = {room: {"num_threads": threads} for room in UPSTREAM}
    if relay is not None:
        for room, address in UPSTREAM.items():
            settings[room][address] = relay
    with chain_of_processes(checkpoint_dir, folder, settings) as chain:
        yield chain


@contextmanager
def on_cores(chain: Chain, cores: set[int]) -> Iterator[None]:
    """Let every thread of this process and of the rooms run on these cores only."""
    before = os.sched_getaffinity(0)
    pids = [os.getpid(), *(chain.processes[room].pid for room in ROOMS)]
    _pin(pids, cores)
    try:
        yield
    finally:
        _pin(pids, before)


def _pin(pids: Iterable[int], cores: set[int]) -> None:
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            try:
                os.sched_setaffinity(int(thread.name), cores)
            except ProcessLookupError:
                continue  # it ended since the folder was read
