"""Celery's worker inside our process: takes messages until it is told to stop."""

import logging
import os
import threading

from celery import Celery
from celery.worker import state

from hulumed_platform.core import metrics
from hulumed_platform.core.errors import ErrorCode, PlatformError

log = logging.getLogger(__name__)


class Consumer:
    """Consumes the application's queue on the calling thread; work runs on Celery's pool of threads.

    One a process: Celery keeps its wish to stop in a module.
    """

    def __init__(self, app: Celery) -> None:
        self._ready = threading.Event()
        app.set_default()  # the pool's threads look the application up there
        self._worker = app.WorkController(
            ready_callback=self._on_ready,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )

    def run(self) -> None:
        """Consume until `stop`; returns when the last task ended.

        Raises:
            PlatformError: INTERNAL where Celery gave up; the cause is in the log.
        """
        self._worker.start()
        if self._worker.exitcode:
            raise PlatformError(ErrorCode.INTERNAL, "Celery gave up; its log says why.")

    def stop(self) -> None:
        """Take no more messages. May be called from a signal handler."""
        state.should_stop = os.EX_OK

    def _on_ready(self, _consumer: object) -> None:
        self._ready.set()
        metrics.READY.set(1)
        log.info("ready")

    def check(self) -> None:
        """Raise UNAVAILABLE until messages are taken."""
        if not self._ready.is_set():
            raise PlatformError(ErrorCode.UNAVAILABLE, "The broker cannot be reached yet.")
