"""Which rooms run on a data folder, who watches them, and where they listen.

`DATA/run/<room>.lock` is locked as long as a supervisor watches the room; the kernel lets go of it when the supervisor
ends, so no file left behind can claim that a room runs. `DATA/run/<room>.json` says the rest.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from hulumed_platform.cli.errors import CliError

_GLANCES = 5
_GLANCE_S = 0.01


@dataclass(frozen=True, slots=True)
class RunningRoom:
    """A room that a supervisor watches; `pid` is None between a crash and the restart."""

    room: str
    address: str
    probed: str
    """`host:port` that answers whether it is ready; of most rooms the address itself."""
    pid: int | None
    supervisor_pid: int


class RunFolder:
    """The folder `DATA/run`."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "run"

    @contextmanager
    def claimed(self, rooms: Sequence[str]) -> Iterator[None]:
        """Hold the rooms for this process.

        Raises:
            CliError: Another supervisor watches one of them.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as locks:
            for room in rooms:
                self._lock(room, locks.enter_context(self._lock_path(room).open("w")))
            try:
                yield
            finally:
                for room in rooms:
                    self._state_path(room).unlink(missing_ok=True)

    def write(self, room: RunningRoom) -> None:
        """Say where a claimed room is; readers see the old text or the new one, never a part."""
        draft = self._state_path(room.room).with_suffix(".new")
        draft.write_text(json.dumps(asdict(room)), encoding="utf-8")
        draft.replace(self._state_path(room.room))

    def rooms(self) -> dict[str, RunningRoom]:
        """The rooms that are watched now, by name."""
        states = (self._read(path) for path in sorted(self._folder.glob("*.json")))
        return {state.room: state for state in states if state is not None}

    def _read(self, path: Path) -> RunningRoom | None:
        if not self._is_claimed(path.stem):
            return None
        try:
            return RunningRoom(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None  # its supervisor has just ended

    def _lock(self, room: str, file: IO[str]) -> None:
        if not _try_lock(file, fcntl.LOCK_EX):
            state = self._read(self._state_path(room))
            watcher = f" by process {state.supervisor_pid}" if state else ""
            raise CliError(
                f"the {room} of {self._folder.parent} is already run{watcher}; stop it with `hulumed down`, "
                "or give another folder with --data"
            )

    def _is_claimed(self, room: str) -> bool:
        try:
            with self._lock_path(room).open() as file:
                return not _try_lock(file, fcntl.LOCK_SH)
        except FileNotFoundError:
            return False

    def _lock_path(self, room: str) -> Path:
        return self._folder / f"{room}.lock"

    def _state_path(self, room: str) -> Path:
        return self._folder / f"{room}.json"


def _try_lock(file: IO[str], mode: int) -> bool:
    """Lock the file, unless another process holds it for longer than the glance of a reader."""
    for _ in range(_GLANCES):
        try:
            fcntl.flock(file, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_GLANCE_S)
        else:
            return True
    return False


def supervisors(rooms: dict[str, RunningRoom]) -> set[int]:
    """Process ids of those who watch the rooms, without ourselves."""
    return {room.supervisor_pid for room in rooms.values()} - {os.getpid()}
