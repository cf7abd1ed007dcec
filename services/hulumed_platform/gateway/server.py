"""The gateway, put together: settings, telemetry, stores, the decoder's client, and uvicorn."""

import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import uvicorn
from anyio import CapacityLimiter

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.core.settings import SettingsError
from hulumed_platform.core.telemetry import configure_telemetry, flush_traces
from hulumed_platform.gateway.app import create_app
from hulumed_platform.gateway.dependencies import Door, Memory
from hulumed_platform.gateway.settings import GatewaySettings
from hulumed_platform.rpc.clients import DecoderClient, RoomClient, open_channel
from hulumed_platform.storage.settings import open_database, open_objects

ROOM = "gateway"


@contextmanager
def open_door(settings: GatewaySettings) -> Iterator[Door]:
    """Open the stores and the channel to the decoder.

    Raises:
        SettingsError: A store's settings are wrong.
        PlatformError: The database is away or has another schema than this version's.
    """
    with closing(open_database(settings)) as database, open_channel(settings.decoder_address) as channel:
        database.require_current_schema()
        yield Door(
            settings=settings,
            database=database,
            objects=open_objects(settings),
            decoder=DecoderClient(channel),
            decoder_room=RoomClient(channel, "decoder"),
            limiter=CapacityLimiter(settings.max_threads),
            answer_limiter=CapacityLimiter(settings.max_answers),
            chat_memory=Memory(settings.max_chat_memory_bytes),
        )


def main() -> None:
    """Serve until SIGTERM; running answers end first."""
    try:
        settings = GatewaySettings.from_environment()
        configure_telemetry(ROOM, settings)
        with open_door(settings) as door:
            _serve(uvicorn.Server(server_config(door)))
    except (SettingsError, PlatformError) as error:
        print(f"{ROOM}: {error}", file=sys.stderr)  # noqa: T201 - the last word of a process
        sys.exit(2 if isinstance(error, SettingsError) else 1)
    finally:
        flush_traces()


def _serve(server: uvicorn.Server) -> None:
    """Serve until a signal. uvicorn raises it again once it has stopped; left to its default it would end us there."""

    def stop(*_: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.run()


def server_config(door: Door) -> uvicorn.Config:
    """The HTTP server over a door."""
    settings = door.settings
    return uvicorn.Config(
        create_app(door),
        host=settings.host,
        port=settings.port,
        http="h11",  # bounds the headers of a request; the same whatever else is installed
        loop="asyncio",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=round(settings.drain_timeout_s),
    )
