"""Starts the rooms of a plan, brings back one that dies, and stops them all."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.plan import RoomPlan
from hulumed_platform.cli.process import RoomProcess
from hulumed_platform.cli.state import RunFolder, RunningRoom

DRAIN_S = 10.0
"""How long a room may finish what it has begun."""

_MAX_RESTARTS = 5
"""Restarts in a row, without becoming ready in between, before the platform gives up."""


class Phase(StrEnum):
    """What a room is doing."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"


@dataclass(slots=True)
class WatchedRoom:
    """A room and what the supervisor knows of it."""

    plan: RoomPlan
    process: RoomProcess
    phase: Phase = Phase.STARTING
    started_at: float = 0.0
    start_s: float | None = None
    """Seconds from the start to readiness."""
    restarts: int = 0
    """Restarts since it was last ready."""
    restart_at: float = 0.0
    was_ready: bool = False
    trouble: str = ""
    """Why it was started again: its exit code and its last words."""


class Supervisor:
    """Watches the rooms of one plan; call `tick` a few times a second.

    A room that ends before it was ever ready ends the platform, with its last words: its settings or its weights are
    wrong and will stay so. One that was ready is started again, at once, then after 1, 2, 4, … seconds.
    """

    def __init__(self, plan: Sequence[RoomPlan], data: Path) -> None:
        self.rooms = [WatchedRoom(room, _process(room, data)) for room in plan]
        self._folder = RunFolder(data)

    @property
    def ready(self) -> bool:
        return all(room.phase is Phase.READY for room in self.rooms)

    def start(self) -> None:
        """Start every room at once; each waits by itself for those it asks."""
        for room in self.rooms:
            self._start(room)

    def tick(self) -> None:
        """Look after every room once.

        Raises:
            CliError: A room cannot be kept alive; the others still run, call `stop`.
        """
        for room in self.rooms:
            self._look_after(room)

    def stop(self) -> None:
        """Stop the rooms, those that others ask last, and wait until all have left."""
        for room in reversed(self.rooms):
            room.process.terminate()
            room.process.wait()

    def kill(self) -> None:
        """End every room now."""
        for room in self.rooms:
            room.process.kill()

    def _start(self, room: WatchedRoom) -> None:
        room.phase = Phase.STARTING
        room.started_at = time.monotonic()
        room.process.start()
        self._publish(room)

    def _look_after(self, room: WatchedRoom) -> None:
        if room.phase is Phase.RESTARTING:
            if time.monotonic() >= room.restart_at:
                self._start(room)
        elif (code := room.process.exit_code) is not None:
            self._on_exit(room, code)
        elif room.phase is Phase.STARTING and room.plan.ready():
            room.phase = Phase.READY
            room.start_s = time.monotonic() - room.started_at
            room.restarts = 0
            room.was_ready = True

    def _on_exit(self, room: WatchedRoom, code: int) -> None:
        room.trouble = "\n".join([f"{room.plan.room} ended with {_exit_in_words(code)}", *room.process.last_lines()])
        room.process.kill()
        if not room.was_ready or room.restarts == _MAX_RESTARTS:
            raise CliError(room.trouble)
        room.restart_at = time.monotonic() + (2.0 ** (room.restarts - 1) if room.restarts else 0.0)
        room.restarts += 1
        room.phase = Phase.RESTARTING
        self._publish(room)

    def _publish(self, room: WatchedRoom) -> None:
        self._folder.write(
            RunningRoom(room.plan.room, room.plan.address, room.plan.probed, room.process.pid, os.getpid())
        )


def _process(plan: RoomPlan, data: Path) -> RoomProcess:
    environment: Mapping[str, str] = {**os.environ, **plan.environment}
    return RoomProcess(plan.module, environment, data / "logs" / f"{plan.room}.log", drain_s=DRAIN_S)


def _exit_in_words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
