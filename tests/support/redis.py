"""A real Redis server on a free loopback port."""

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import free_ports, running

_START_TIMEOUT_S = 20


@contextmanager
def redis_server(folder: Path, port: int, *, password: str = "") -> Iterator[str]:
    """Run a server with nothing on disk while the block runs; yields its URL, without the password."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("Redis (redis-server) is not installed")
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    command += ["--dir", str(folder)]
    command += ["--requirepass", password] if password else []
    log = folder / "redis.log"
    with running(command, log=log):
        _wait(port, log)
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """The URL of an empty server; skips where Redis is not installed."""
    (port,) = free_ports(1)
    with redis_server(tmp_path, port) as url:
        yield url


def _wait(port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                pytest.fail(f"Redis did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        else:
            return
