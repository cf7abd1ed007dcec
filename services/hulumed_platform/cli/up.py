"""`hulumed up` and `hulumed down`: the platform on this machine."""

import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

from hulumed_platform.cli.console import console
from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.options import Data
from hulumed_platform.cli.state import RunFolder, supervisors
from hulumed_platform.cli.supervisor import DRAIN_S
from hulumed_platform.cli.view import PlatformView

_POLL_S = 0.1
_DOWN_TIMEOUT_S = 10 * DRAIN_S


def up(
    data: Data = Path(".data"),
    only: Annotated[
        str, typer.Option(metavar="ROOM,…", help="Start these rooms alone; they find the others running on DIR.")
    ] = "",
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the gateway; 0 = any free one.")] = 8080,
    dicom_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of DICOM; 0 = any free one.")] = 11112,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="Checkpoint to serve; without it, an untrained one."
        ),
    ] = None,
) -> None:
    """Start every room on this machine, and stop them all on Ctrl-C."""
    from hulumed_platform.cli.embedded import chosen_rooms
    from hulumed_platform.cli.platform import TICK_S, platform, wait_until_ready

    data = data.absolute()
    try:
        rooms = chosen_rooms(only)
        with platform(data, rooms, http_port=http_port, dicom_port=dicom_port, checkpoint=checkpoint) as supervisor:
            view = PlatformView(supervisor)
            wait_until_ready(supervisor, view)
            console.print(f"Ready. Logs are in {data}/logs; Ctrl-C stops the platform.", soft_wrap=True)
            try:
                while True:
                    time.sleep(TICK_S)
                    supervisor.tick()
                    view.update()
            except KeyboardInterrupt:
                console.print("Stopping what still works; Ctrl-C again ends it at once.", soft_wrap=True)
                raise
    except KeyboardInterrupt:
        console.print("Stopped.")


def down(data: Data = Path(".data")) -> None:
    """Stop the rooms that `hulumed up` runs on a data folder."""
    run_folder = RunFolder(data.absolute())
    rooms = run_folder.rooms()
    if not rooms:
        console.print(f"nothing runs on {data}", soft_wrap=True)
        return
    for pid in supervisors(rooms):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_TIMEOUT_S
    while run_folder.rooms():
        if time.monotonic() > deadline:
            raise CliError(f"{', '.join(run_folder.rooms())} still run after {_DOWN_TIMEOUT_S:.0f} s; see {data}/logs")
        time.sleep(_POLL_S)
    console.print(f"stopped {', '.join(rooms)}", soft_wrap=True)
