"""How a platform that starts, and trouble while it runs, look at the terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.table import Table

from hulumed_platform.cli.console import console, errors
from hulumed_platform.cli.supervisor import Phase, Supervisor, WatchedRoom

_STYLES = {Phase.STARTING: "yellow", Phase.READY: "green", Phase.RESTARTING: "red"}


class PlatformView:
    """Call `update` after every tick: a table that lives at a terminal, one line for each change elsewhere."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._rooms = supervisor.rooms
        self._shown: dict[str, tuple[Phase, str]] = {}
        self._live: Live | None = None

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Show the table while the block runs; it stays on the screen afterwards."""
        if not console.is_terminal:
            yield
            return
        with Live(self._table(), console=console, refresh_per_second=4) as self._live:
            yield
        self._live = None

    def update(self) -> None:
        for room in self._rooms:
            now = (room.phase, room.trouble)
            before = self._shown.get(room.plan.room)
            if before is None or before[1] != room.trouble:
                _print_trouble(room)
            if before != now and self._live is None:
                console.print(_line(room))
            self._shown[room.plan.room] = now
        if self._live is not None:
            self._live.update(self._table())

    def _table(self) -> Table:
        table = Table("room", "address", "state", box=None, pad_edge=False, padding=(0, 3, 0, 0))
        for room in self._rooms:
            style = _STYLES[room.phase]
            table.add_row(room.plan.room, room.plan.address, f"[{style}]{_state(room)}[/{style}]")
        return table


def _line(room: WatchedRoom) -> str:
    return f"{room.plan.room:<11} {room.plan.address:<22} {_state(room)}"


def _state(room: WatchedRoom) -> str:
    if room.phase is Phase.READY:
        return f"ready in {room.start_s:.1f} s"
    if room.phase is Phase.RESTARTING:
        return f"starts again in {max(0.0, room.restart_at - time.monotonic()):.0f} s"
    return "starting"


def _print_trouble(room: WatchedRoom) -> None:
    if room.trouble:
        errors.print(room.trouble, style="red", markup=False, soft_wrap=True)
