"""`hulumed status`: what runs on a data folder."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import typer
from rich.table import Table

from hulumed_platform.cli.console import console
from hulumed_platform.cli.options import AsJson, Data
from hulumed_platform.cli.state import RunFolder, RunningRoom

_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class RoomStatus:
    """One room, as it answers."""

    room: str
    address: str
    ready: bool
    weights_digest: str | None = None
    """Of the weights it serves; None for a room without weights, or that does not answer."""
    model_label: str | None = None


def status(data: Data = Path(".data"), *, as_json: AsJson = False) -> None:
    """Show every room: its address, whether it is ready, its weights. Exit with 1 unless all are ready."""
    from hulumed_platform.cli.embedded import ROOMS

    running = RunFolder(data.absolute()).rooms()
    rooms = [_ask(running[name]) for name in ROOMS if name in running]
    ready = bool(rooms) and all(room.ready for room in rooms)
    if as_json:
        print(json.dumps({"ready": ready, "rooms": [asdict(room) for room in rooms]}, indent=2))
    elif rooms:
        console.print(_table(rooms))
    else:
        console.print(f"nothing runs on {data}", soft_wrap=True)
    raise typer.Exit(0 if ready else 1)


def _ask(room: RunningRoom) -> RoomStatus:
    from hulumed_platform.cli.embedded import GRPC_ROOMS, probe

    if room.pid is None:
        return RoomStatus(room.room, room.address, ready=False)
    if room.room in GRPC_ROOMS:
        return _describe(room)
    return RoomStatus(room.room, room.address, ready=probe(room.room, room.probed)())


def _describe(room: RunningRoom) -> RoomStatus:
    from hulumed_platform.core.errors import PlatformError
    from hulumed_platform.rpc.clients import RoomClient, open_channel

    with open_channel(room.address) as channel:
        try:
            told = RoomClient(channel, room.room).describe(timeout_s=_TIMEOUT_S)
        except PlatformError:
            return RoomStatus(room.room, room.address, ready=False)
    return RoomStatus(room.room, room.address, told.ready, told.weights_digest or None, told.model_label or None)


def _table(rooms: list[RoomStatus]) -> Table:
    table = Table("room", "address", "ready", "weights", "", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for room in rooms:
        ready = "[green]ready[/green]" if room.ready else "[red]not ready[/red]"
        table.add_row(room.room, room.address, ready, (room.weights_digest or "")[:19], room.model_label or "")
    return table
