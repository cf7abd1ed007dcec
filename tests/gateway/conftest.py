"""A real gateway on loopback: uvicorn, SQLite, a local object store, and the chain of four rooms behind it."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import uvicorn

from hulumed_platform.gateway.dependencies import Door
from hulumed_platform.gateway.server import open_door, server_config
from hulumed_platform.gateway.settings import GatewaySettings
from hulumed_platform.storage.database import Database
from tests.support.chain import Chain
from tests.support.processes import free_ports


@dataclass(frozen=True)
class RunningGateway:
    """A gateway that listens, what it works with, and a client of it."""

    url: str
    door: Door
    http: httpx.Client


@pytest.fixture(scope="session")
def gateway(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One for the session, with small limits."""
    folder = tmp_path_factory.mktemp("gateway")
    database_url = f"sqlite:///{folder / 'hulumed.sqlite'}"
    Database(database_url).migrate()
    settings = GatewaySettings(
        host="127.0.0.1",
        port=free_ports(1)[0],
        decoder_address=chain.addresses["decoder"],
        database_url=database_url,
        objects_url=chain.objects_dir.as_uri(),
        scratch_dir=folder,
        max_instance_bytes=8_000_000,
        max_stow_bytes=16_000_000,
        max_chat_bytes=8_000_000,
        max_upload_bytes=8_000_000,
        max_new_tokens=8,
        body_idle_timeout_s=2,
        request_timeout_s=60,
    )
    with open_door(settings) as door, serving(door) as url, httpx.Client(base_url=url, timeout=60) as http:
        yield RunningGateway(url, door, http)


class serving:  # noqa: N801  reads as a statement
    """Serve a door on its own port while the block runs; gives the address."""

    def __init__(self, door: Door) -> None:
        self._server = uvicorn.Server(server_config(door))
        self._thread = threading.Thread(target=self._server.run)
        self._url = f"http://{door.settings.host}:{door.settings.port}"

    def __enter__(self) -> str:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "uvicorn did not start"
        return self._url

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
