"""What is done again and again outlives its failures, and probes tell of them."""

import json
import threading
import urllib.error
import urllib.request

import pytest

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.core.periodic import Periodic
from hulumed_platform.core.probes import serve_probes
from hulumed_platform.core.settings import SettingsError
from tests.support.study_desk import wait_until

AWAY = PlatformError(ErrorCode.UNAVAILABLE, "The broker cannot be reached.")


@pytest.mark.parametrize("error", [AWAY, RuntimeError("a fault of ours")])
def test_a_failure_waits_for_the_next_time(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """One bad round is told by `check` and in the log, and the next good one clears it."""
    errors = [error]
    rounds = threading.Semaphore(0)
    go_on = threading.Event()

    def action() -> None:
        rounds.release()
        if errors:
            raise errors.pop()
        go_on.wait()

    with Periodic("sweep", action, interval_s=0.01) as periodic:
        assert rounds.acquire(timeout=5)
        assert rounds.acquire(timeout=5)
        with pytest.raises(PlatformError):
            periodic.check()
        go_on.set()
        assert rounds.acquire(timeout=5)
        wait_until(lambda: rounds.acquire(blocking=False), "it goes on")
        periodic.check()
    assert "sweep" in caplog.text


def test_probes_say_what_is_away() -> None:
    """Alive at once, ready when every check passes; else 503 names the check that does not, and why."""
    away = threading.Event()
    away.set()

    def broker() -> None:
        if away.is_set():
            raise AWAY

    with serve_probes("127.0.0.1", 0, {"broker": broker, "database": lambda: None}) as port:
        assert probe(port, "/healthz") == (200, {"status": "alive"})
        assert probe(port, "/readyz") == (503, {"ready": False, "faults": {"broker": AWAY.message}})
        away.clear()
        assert probe(port, "/readyz") == (200, {"ready": True, "faults": {}})
        assert probe(port, "/other")[0] == 404


def test_a_port_that_is_taken_is_named() -> None:
    """The setting to change stands in the message."""
    with (
        serve_probes("127.0.0.1", 0, {}) as port,
        pytest.raises(SettingsError, match=f"port: cannot listen on 127.0.0.1:{port}"),
        serve_probes("127.0.0.1", port, {}),
    ):
        pass


def probe(port: int, path: str) -> tuple[int, object]:
    """GET a path; the status and the JSON."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
