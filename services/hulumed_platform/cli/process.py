"""A room's process: started with its log, stopped with everything it started itself."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from hulumed_platform.cli.room import DRAIN_VARIABLE

_TAIL_BYTES = 64 * 1024


class RoomProcess:
    """One room, started any number of times, one process at a time."""

    def __init__(self, module: str, environment: Mapping[str, str], log: Path, *, drain_s: float) -> None:
        self._module = module
        self._environment = {**environment, DRAIN_VARIABLE: str(drain_s)}
        self._drain_s = drain_s
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code of a process that ended; None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the process in a session of its own: Ctrl-C reaches the supervisor alone."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-m", "hulumed_platform.cli.room", self._module],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def terminate(self) -> None:
        """Ask the room to drain and leave."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Wait until the room has left; kill it, and what it started, when it takes longer than it was given."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(self._drain_s)
        self.kill()

    def kill(self) -> None:
        """End the process and all that it started, now."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):  # the whole group has left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process = None

    def last_lines(self, count: int = 8) -> list[str]:
        """The end of the log in words: the messages of log records, other lines as they are."""
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return [_in_words(line) for line in lines if line.strip()][-count:]


def _in_words(line: str) -> str:
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict) or "message" not in record:
        return line
    cause = str(record.get("exception", "")).strip().rpartition("\n")[2]
    return f"{record.get('level', '')} {record['message']}" + (f": {cause}" if cause else "")
