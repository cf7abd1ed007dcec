"""Holding on to a study while it is worked on, and noticing when it is no longer ours."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Self

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.records import Claim
from hulumed_platform.storage.workflow import Workflow

log = logging.getLogger(__name__)

_RENEWALS_PER_LEASE = 3
"""Two renewals may fail before the lease ends."""


class End(StrEnum):
    """Why work on a study is to stop before it is done."""

    LOST = "lost"
    """The study has new instances, or another holder."""
    GIVEN_UP = "given up"
    """This process stops; another one is to have the study."""


class Lease:
    """Renews a claim from a thread of its own until the block ends, and tells when work is to stop.

    A database out of reach stops nothing: a lease that ran out while nobody took the study is still good.
    """

    def __init__(self, database: Database, claim: Claim, lease_s: float) -> None:
        self._database = database
        self._claim = claim
        self._lease_s = lease_s
        self._end: Future[End] = Future()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{claim.study_id}", daemon=True)

    @property
    def end(self) -> End | None:
        """Why to stop; None while there is no reason to."""
        return self._end.result() if self._end.done() else None

    def on_end(self, cancel: Callable[[], object]) -> None:
        """Call `cancel` when there is a reason to stop; at once where there is one already."""
        self._end.add_done_callback(lambda _: cancel())

    def give_up(self) -> None:
        """Tell whoever works on the study to leave it unfinished."""
        self._stop(End.GIVEN_UP)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._done.wait(self._lease_s / _RENEWALS_PER_LEASE):
            try:
                held = self._renew()
            except PlatformError as error:
                log.warning("lease not renewed", extra={"study": self._claim.study_id, "code": error.code.value})
                continue
            if not held:
                self._stop(End.LOST)
                return

    def _renew(self) -> bool:
        with self._database.session() as session:
            return Workflow(session).renew(self._claim, datetime.now(UTC), self._lease_s)

    def _stop(self, end: End) -> None:
        with suppress(InvalidStateError):  # the first reason stands
            self._end.set_result(end)
