import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.plan import RoomPlan
from hulumed_platform.cli.process import RoomProcess
from hulumed_platform.cli.state import RunFolder
from hulumed_platform.cli.supervisor import Phase, Supervisor

_ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 60


def _room(tmp_path: Path, **environment: str) -> RoomPlan:
    ready = tmp_path / "ready"
    variables = {"PYTHONPATH": str(_ROOT), "FAKE_READY": str(ready), **environment}
    return RoomPlan("encoder", "tests.support.fake_room", "127.0.0.1:1", "127.0.0.1:1", variables, ready.exists)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor([_room(tmp_path)], tmp_path)
    with RunFolder(tmp_path).claimed(["encoder"]):
        yield supervisor
        supervisor.kill()


def _until(supervisor: Supervisor, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while not reached():
        assert time.monotonic() < deadline, [room.phase for room in supervisor.rooms]
        supervisor.tick()
        time.sleep(0.02)


def _gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_room_that_dies_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    """A crash of one room is mended without the user, and the new process id is what others read."""
    supervisor.start()
    _until(supervisor, lambda: supervisor.ready)
    first = int((tmp_path / "ready").read_text())
    (tmp_path / "ready").unlink()
    os.kill(first, signal.SIGKILL)

    _until(supervisor, lambda: supervisor.rooms[0].trouble != "" and supervisor.ready)

    assert supervisor.rooms[0].trouble.startswith("encoder ended with signal 9")
    assert int((tmp_path / "ready").read_text()) != first
    supervisor.stop()


def test_a_room_that_cannot_start_ends_the_platform_with_its_words(tmp_path: Path) -> None:
    """A wrong setting is shown at once, not restarted for ever."""
    supervisor = Supervisor([_room(tmp_path, FAKE_FAILS="HULUMED_ENCODER_PORT: not a number")], tmp_path)
    with RunFolder(tmp_path).claimed(["encoder"]):
        supervisor.start()
        with pytest.raises(CliError, match=r"(?s)exit code 1.*HULUMED_ENCODER_PORT: not a number"):
            _until(supervisor, lambda: False)


def test_stop_ends_a_deaf_room_and_its_children(tmp_path: Path) -> None:
    """Nothing stays behind, not even a room that ignores SIGTERM, nor what it started."""
    plan = _room(tmp_path, FAKE_STUBBORN="1")
    process = RoomProcess(plan.module, {**os.environ, **plan.environment}, tmp_path / "log", drain_s=0.2)
    process.start()
    deadline = time.monotonic() + _TIMEOUT_S
    while not plan.ready() or not (tmp_path / "ready").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 1

    process.terminate()
    process.wait()

    psutil.wait_procs(children, timeout=10)
    assert all(_gone(child.pid) for child in children)
    assert process.pid is None


def test_rooms_leave_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    """kill -9 of the supervisor runs no handler; its rooms see their lifeline close and go."""
    program = (
        "import os, time, sys; from pathlib import Path; from hulumed_platform.cli.process import RoomProcess\n"
        "RoomProcess('tests.support.fake_room', os.environ, Path(sys.argv[1]), drain_s=0.2).start(); time.sleep(600)"
    )
    environment = {**os.environ, **_room(tmp_path).environment, "FAKE_STUBBORN": "1"}
    supervisor = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "log")], env=environment)
    deadline = time.monotonic() + _TIMEOUT_S
    while not ((tmp_path / "ready").exists() and (tmp_path / "ready").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    family = psutil.Process(supervisor.pid).children(recursive=True)

    supervisor.kill()
    supervisor.wait()

    assert len(family) == 2
    while not all(_gone(process.pid) for process in family):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_phase_is_starting_until_the_room_says_ready(supervisor: Supervisor, tmp_path: Path) -> None:
    """A process that lives is not yet a room that serves."""
    assert supervisor.rooms[0].phase is Phase.STARTING
    supervisor.start()
    _until(supervisor, lambda: supervisor.ready)
    assert RunFolder(tmp_path).rooms()["encoder"].pid == int((tmp_path / "ready").read_text())
    supervisor.stop()
