"""One attempt at a study: claim it, report on it, store the report or say why not. Knows no broker.

SQL is the truth. A study may be asked for twice, late, or never: the claim lets one attempt through, a report is
stored for the claimed revision or not at all, and what ends badly is found again by the sweeper.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from opentelemetry import trace

from hulumed_platform.core.errors import ErrorCode, PlatformError, internal_error
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.records import Claim
from hulumed_platform.storage.workflow import Workflow
from hulumed_platform.worker import metrics
from hulumed_platform.worker.lease import End, Lease
from hulumed_platform.worker.reporting import Reporter

log = logging.getLogger(__name__)
_tracer = trace.get_tracer(__name__)

_TIMES_PASS = frozenset({ErrorCode.DEADLINE, ErrorCode.CANCELLED})
"""Time ran out in a full house, or a decoder that stops cancelled the call: no fault of the study."""


class Outcome(StrEnum):
    """How a task for a study ended."""

    REPORTED = "reported"
    RETRY = "retry"
    """It failed and is tried again later."""
    FAILED = "failed"
    SUPERSEDED = "superseded"
    """New instances came, or another worker took it over; the result is dropped."""
    RELEASED = "released"
    """This process stops; the study is given back."""
    NOT_DUE = "not_due"
    """Nothing to do: the message was a double, or late."""


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How often a study is tried, and how long to pause in between."""

    max_attempts: int
    after_s: float
    max_after_s: float

    def pause(self, error: PlatformError, attempt: int) -> timedelta | None:
        """How long to wait after this attempt (from 1); None = do not try again."""
        if attempt >= self.max_attempts or not (error.retryable or error.code in _TIMES_PASS):
            return None
        doubled_s = self.after_s * 2.0 ** min(attempt - 1, 60)
        return timedelta(seconds=max(min(doubled_s, self.max_after_s), error.retry_after_s or 0.0))


class StudyWorkflow:
    """Works on studies for one worker; `run` may be called from many threads."""

    def __init__(self, database: Database, reporter: Reporter, retry: RetryRule, *, owner: str, lease_s: float) -> None:
        self._database = database
        self._reporter = reporter
        self._retry = retry
        self._owner = owner
        self._lease_s = lease_s
        self._lock = threading.Lock()
        self._leases: set[Lease] = set()
        self._stopped = False

    def run(self, study_id: str) -> Outcome:
        """Do what is to be done for a study, if anything.

        Raises:
            PlatformError: The database cannot be reached; the study is found again by the sweeper.
        """
        if self._stopped:
            return Outcome.RELEASED
        with self._database.session() as session:
            claim = Workflow(session).claim(study_id, self._owner, datetime.now(UTC), self._lease_s)
        if claim is None:
            return Outcome.NOT_DUE
        span = _tracer.start_as_current_span("study", attributes={"study": study_id, "attempt": claim.attempt})
        with span, metrics.STUDIES_ACTIVE.track_inprogress(), metrics.STUDY_SECONDS.labels("whole").time():
            outcome = self._attempt(claim)
        log.info("study worked on", extra={**_ids(claim), "outcome": outcome.value})
        return outcome

    def give_up(self) -> None:
        """Leave every study unfinished, for another worker to take at once; also those that are claimed from now on."""
        with self._lock:
            self._stopped = True
            leases = list(self._leases)
        for lease in leases:
            lease.give_up()

    def _attempt(self, claim: Claim) -> Outcome:
        if claim.attempt > self._retry.max_attempts:  # its holder died each time, else it would have failed before
            return self._failed(claim, _deadly(claim))
        with self._holding(claim) as lease:
            try:
                report = self._reporter.report(claim.study_id, lease.on_end)
            except PlatformError as error:
                return self._left(claim, lease.end, error)
            except Exception:  # noqa: BLE001 - the outermost loop of a study: a fault of ours must not kill the worker
                return self._left(claim, lease.end, _logged_internal(claim))
        with self._database.session() as session:
            finished = Workflow(session).finish(claim, report)
        return Outcome.REPORTED if finished else Outcome.SUPERSEDED

    @contextmanager
    def _holding(self, claim: Claim) -> Iterator[Lease]:
        with Lease(self._database, claim, self._lease_s) as lease:
            with self._lock:
                self._leases.add(lease)
                stopped = self._stopped
            if stopped:
                lease.give_up()
            try:
                yield lease
            finally:
                with self._lock:
                    self._leases.discard(lease)

    def _left(self, claim: Claim, end: End | None, error: PlatformError) -> Outcome:
        """The study has no report from this attempt; `end` says whether we were told to stop."""
        if end is End.LOST:
            return Outcome.SUPERSEDED
        if end is End.GIVEN_UP:
            with self._database.session() as session:
                released = Workflow(session).release(claim, datetime.now(UTC))
            return Outcome.RELEASED if released else Outcome.SUPERSEDED
        return self._failed(claim, error)

    def _failed(self, claim: Claim, error: PlatformError) -> Outcome:
        now = datetime.now(UTC)
        pause = self._retry.pause(error, claim.attempt)
        retry_at = None if pause is None else now + pause
        with self._database.session() as session:
            failed = Workflow(session).fail(claim, error.message, now, retry_at=retry_at)
        if not failed:
            return Outcome.SUPERSEDED
        told = {"code": error.code.value, "correlation_id": error.correlation_id, "retry_at": retry_at}
        log.warning("study not reported: %s", error.message, extra={**_ids(claim), **told})
        return Outcome.FAILED if retry_at is None else Outcome.RETRY


def _ids(claim: Claim) -> dict[str, object]:
    return {"study": claim.study_id, "revision": claim.revision, "attempt": claim.attempt}


def _deadly(claim: Claim) -> PlatformError:
    return PlatformError(
        ErrorCode.INTERNAL,
        f"Every one of {claim.attempt - 1} attempts ended with the worker; the operator finds out why in its logs.",
    )


def _logged_internal(claim: Claim) -> PlatformError:
    error = internal_error()
    log.exception("study broke the worker", extra={**_ids(claim), "correlation_id": error.correlation_id})
    return error
