"""The life of a gRPC room's process: settings, telemetry, the room itself, and its end."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.core.settings import GrpcRoomSettings, SettingsError
from hulumed_platform.core.telemetry import configure_telemetry
from hulumed_platform.model.errors import CheckpointError
from hulumed_platform.rpc.server import RoomServer
from hulumed_platform.rpc.v1 import room_pb2

_SettingsT = TypeVar("_SettingsT", bound=GrpcRoomSettings)


@dataclass(frozen=True, slots=True)
class Room:
    """A room that was put together but does not listen yet."""

    server: RoomServer
    load: Callable[[], room_pb2.RoomDescription | None]
    """Brings the weights in, does one warm forward, and says what the room learnt of itself."""


def run_room(
    name: str, settings_class: type[_SettingsT], open_room: Callable[[_SettingsT], AbstractContextManager[Room]]
) -> None:
    """The `main` of a room: serve until SIGTERM.

    Exits with 2 where the settings are wrong, with 1 where the checkpoint is or a store cannot be used, and says why on
    standard error.
    """
    try:
        settings = settings_class.from_environment()
        configure_telemetry(name, settings)
        with open_room(settings) as room:
            room.server.run(room.load)
    except SettingsError as error:
        _leave(name, error, 2)
    except (CheckpointError, PlatformError) as error:
        _leave(name, error, 1)


def _leave(name: str, error: Exception, exit_code: int) -> None:
    print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 - the last word of a process
    sys.exit(exit_code)
