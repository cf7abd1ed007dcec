"""The worker as a process of its own, as `python -m hulumed_platform.worker` runs it."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hulumed_platform.worker.settings import WorkerSettings
from tests.support.processes import free_ports, running
from tests.support.study_desk import wait_until


@dataclass(frozen=True)
class WorkerProcess:
    """A running worker: its process, its probes, and what it logs."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def is_ready(self) -> bool:
        """Whether `/readyz` says so."""
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as response:
                return bool(response.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            pass  # it does not listen yet
        return False


@dataclass(frozen=True)
class WorkerPlace:
    """Where workers of one test live: one database, one object store, one broker, one decoder."""

    folder: Path
    broker_url: str
    decoder_address: str

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.folder / 'platform.sqlite'}"

    def settings(self, **changes: Any) -> WorkerSettings:
        """Quick settings: a dead worker is noticed in a moment, a failed study is tried again in a moment."""
        given: dict[str, Any] = {
            "database_url": self.database_url,
            "objects_url": (self.folder / "objects").as_uri(),
            "broker_url": self.broker_url,
            "decoder_address": self.decoder_address,
            "host": "127.0.0.1",
            "port": free_ports(1)[0],
            "quiet_s": 0.2,
            "sweep_interval_s": 0.1,
            "lease_s": 1.5,
            "retry_after_s": 0.5,
            "max_retry_after_s": 0.5,
            "max_attempts": 50,
            "drain_timeout_s": 0.5,
        }
        return WorkerSettings(**(given | changes))

    @contextmanager
    def running_worker(self, *, until_ready: bool = True, **changes: Any) -> Iterator[WorkerProcess]:
        """Run a worker while the block runs. A warning is an error in it, as it is in the tests."""
        settings = self.settings(**changes)
        log = self.folder / f"worker-{settings.port}.log"
        environment = {**os.environ, **settings.as_environment()}
        # Celery announces a change of its next major version whenever a broker goes away
        warnings = ["-W", "error", "-W", "ignore::PendingDeprecationWarning"]
        command = [sys.executable, *warnings, "-m", "hulumed_platform.worker"]
        with running(command, log=log, environment=environment) as process:
            worker = WorkerProcess(process, settings.port, log)
            if until_ready:
                wait_until(worker.is_ready, "the worker is ready")
            yield worker
