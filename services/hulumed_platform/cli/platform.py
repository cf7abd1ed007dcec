"""The embedded platform as a block: its rooms start with it and are gone after it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from hulumed_platform.cli import embedded
from hulumed_platform.cli.signals import interruptible
from hulumed_platform.cli.state import RunFolder
from hulumed_platform.cli.supervisor import Supervisor
from hulumed_platform.cli.view import PlatformView

TICK_S = 0.2


@contextmanager
def platform(
    data: Path,
    rooms: Sequence[str],
    *,
    http_port: int,
    dicom_port: int,
    checkpoint: Path | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Supervisor]:
    """Start rooms on a data folder, and stop them when the block ends, however it ends.

    Args:
        data: absolute path of the data folder.
        rooms: names of the rooms.
        http_port: the gateway's; 0 = any free one.
        dicom_port: the dimse room's; 0 = any free one.
        checkpoint: what to serve; None = an untrained one.
        settings: more settings by field name, for every room that has the field.

    Raises:
        CliError: The rooms run already, a port is taken, or a room cannot start.
        KeyboardInterrupt: This process was asked to end; a second time while it stops the rooms kills them.
    """
    run_folder = RunFolder(data)
    with interruptible(), run_folder.claimed(rooms):
        running = run_folder.rooms()
        plan = embedded.prepare(
            data,
            rooms,
            http_port=http_port,
            dicom_port=dicom_port,
            checkpoint=checkpoint,
            running=running,
            settings=settings,
        )
        supervisor = Supervisor(plan, data)
        try:
            supervisor.start()
            yield supervisor
        finally:
            _stop(supervisor)


def wait_until_ready(supervisor: Supervisor, view: PlatformView) -> None:
    """Look after the rooms, and show them, until all are ready."""
    with view.starting():
        while not supervisor.ready:
            supervisor.tick()
            view.update()
            time.sleep(TICK_S)


def _stop(supervisor: Supervisor) -> None:
    try:
        supervisor.stop()
    except KeyboardInterrupt:
        supervisor.kill()
