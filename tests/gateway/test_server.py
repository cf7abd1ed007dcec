"""The gateway as a process: how it starts and how it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from hulumed_platform.storage.database import Database
from tests.support.collector import Collector
from tests.support.processes import free_ports, running
from tests.support.study_desk import wait_until

COMMAND = [sys.executable, "-m", "hulumed_platform.gateway"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Settings of a gateway with its stores in a folder."""
    values = {
        "host": "127.0.0.1",
        "port": str(free_ports(1)[0]),
        "decoder_address": "127.0.0.1:1",
        "database_url": f"sqlite:///{tmp_path / 'platform.sqlite'}",
        "objects_url": (tmp_path / "objects").as_uri(),
    }
    return {**os.environ, **{f"HULUMED_GATEWAY_{name.upper()}": value for name, value in values.items()}}


def is_alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").is_success
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order(
    environment: dict[str, str], tmp_path: Path, collector: Collector, number: signal.Signals
) -> None:
    """The last traces are sent and the exit is no failure; the server would have the signal end the process before."""
    Database(environment["HULUMED_GATEWAY_DATABASE_URL"]).migrate()
    environment["HULUMED_GATEWAY_OTLP_ENDPOINT"] = collector.endpoint
    url = f"http://127.0.0.1:{environment['HULUMED_GATEWAY_PORT']}"
    before = len(collector.spans)
    with running(COMMAND, log=tmp_path / "log", environment=environment) as process:
        wait_until(lambda: is_alive(url), "the gateway listens", timeout_s=60)
        assert httpx.get(f"{url}/studies").status_code == 200
        process.send_signal(number)
        assert process.wait(30) == 0
    assert "GET /studies" in [span.name for span in collector.spans[before:]]


def test_it_says_why_it_cannot_start(environment: dict[str, str]) -> None:
    """One line and an exit code: 1 for a database that is to be upgraded, 2 for a setting."""
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "hulumed_platform.storage.upgrade" in done.stderr) == (1, True)
    del environment["HULUMED_GATEWAY_OBJECTS_URL"]
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "HULUMED_GATEWAY_OBJECTS_URL" in done.stderr) == (2, True)
