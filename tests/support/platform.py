"""The whole embedded platform, once for the test session: real rooms, real gRPC, started by the real command."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from hulumed_platform.cli.embedded import probe
from hulumed_platform.cli.state import RunFolder, RunningRoom

_START_TIMEOUT_S = 240
_STOP_TIMEOUT_S = 90


@dataclass(frozen=True)
class Platform:
    """A running platform: its data folder, the process that watches it, and every room's `host:port`."""

    data: Path
    process: subprocess.Popen[bytes]
    addresses: dict[str, str]

    @property
    def url(self) -> str:
        """The gateway."""
        return f"http://{self.addresses['gateway']}"


def hulumed(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, to its end."""
    command = [sys.executable, "-m", "hulumed_platform.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=250)


def environment() -> dict[str, str]:
    """The environment of a command: a wide terminal, short answers, and studies that are complete after a moment."""
    return {
        "COLUMNS": "200",
        "HULUMED_GATEWAY_MAX_NEW_TOKENS": "16",
        "HULUMED_WORKER_MAX_NEW_TOKENS": "16",
        "HULUMED_WORKER_QUIET_S": "0.5",
        "HULUMED_WORKER_SWEEP_INTERVAL_S": "0.5",
        "OMP_NUM_THREADS": "1",
        **os.environ,
    }


def start(data: Path, *options: str, log: Path) -> subprocess.Popen[bytes]:
    """Start `hulumed up` on a folder and return at once."""
    command = [sys.executable, "-m", "hulumed_platform.cli", "up", "--data", str(data), "--http-port", "0"]
    command += ["--dicom-port", "0", *options]
    with log.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment())


def wait_until_ready(process: subprocess.Popen[bytes], data: Path, log: Path, rooms: int) -> dict[str, str]:
    """Wait until so many rooms are ready; return their addresses."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not (states := _ready(data, rooms)):
        if process.poll() is not None or time.monotonic() > deadline:
            stop(process)
            pytest.fail(f"the platform did not start: {log.read_text()[-4000:]}")
        time.sleep(0.5)
    return {state.room: state.address for state in states}


def stop(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGINT) -> int:
    """Ask the platform to stop, as Ctrl-C does, and return its exit code."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        return process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform for all tests that only talk to it; one that stops or breaks rooms starts its own."""
    data = tmp_path_factory.mktemp("platform")
    log = data / "up.log"
    process = start(data, log=log)
    try:
        yield Platform(data, process, wait_until_ready(process, data, log, rooms=7))
    finally:
        stop(process)


def _ready(data: Path, rooms: int) -> Sequence[RunningRoom]:
    """The rooms, once all are ready; before that, none."""
    running = list(RunFolder(data).rooms().values())
    return running if len(running) == rooms and all(probe(room.room, room.probed)() for room in running) else ()
