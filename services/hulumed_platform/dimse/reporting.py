"""Reports of storage commitment (PS3.4, section J.3.3): on the association that asked while it is open, else on ours.

SQL knows what is to be reported. A report that does not reach its peer is tried again, by whoever runs then; each peer
has a thread of its own, so that one that is away keeps no other waiting.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from pydicom import Dataset
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]  # made when imported

from hulumed_platform.archive.commitment import CommitmentResult, InstanceReference, check
from hulumed_platform.core.errors import PlatformError
from hulumed_platform.dimse import metrics
from hulumed_platform.dimse.commitment import PUSH_MODEL_INSTANCE, SUCCESS
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import PendingCommitment
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.storage.pending_reports import PendingReports

log = logging.getLogger(__name__)

_ALL_COMMITTED = 1
_SOME_FAILED = 2
_PAUSE_S = 0.5
"""Who asks and hangs up at once does so before; a report then would only meet the end of the association."""
_CLAIM = timedelta(minutes=5)
"""Longer than a connection, an association and an answer may take."""
_MAX_THREADS = 16


class Dial(Protocol):
    """Opens associations to peers."""

    def __call__(self, peer: str) -> Association | None:
        """Open an association to where the peer takes reports; None where it cannot be had."""
        ...

    def knows(self, peer: str) -> bool:
        """Whether it is known where the peer takes reports."""
        ...


@dataclass(frozen=True, slots=True)
class ReportRule:
    """How long to pause after a report that did not arrive, doubled each time, and when to give up; in seconds."""

    retry_after_s: float
    max_retry_after_s: float
    give_up_after_s: float

    def next_attempt(self, commitment: PendingCommitment, now: datetime) -> datetime | None:
        """When to try again; None = never."""
        doubled_s = self.retry_after_s * 2.0 ** min(max(commitment.attempt - 1, 0), 60)
        at = now + timedelta(seconds=min(doubled_s, self.max_retry_after_s))
        return at if at <= commitment.created_at + timedelta(seconds=self.give_up_after_s) else None


class Reporter:
    """Brings reports to peers. Call `sweep` again and again, and `stop` once."""

    def __init__(self, objects: ObjectStore, database: Database, tenant: str, *, dial: Dial, rule: ReportRule) -> None:
        self._objects = objects
        self._database = database
        self._tenant = tenant
        self._dial = dial
        self._rule = rule
        self._threads = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="reports")
        self._lock = threading.Lock()
        self._peers_at_work: set[str] = set()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Begin no more reports; what is not reported is so by whoever runs next."""
        self._stopping.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def report_soon(self, association: Association, commitment_id: str, due_at: datetime) -> None:
        """Report on the association that asked, if it stays open; it alone may do so until `due_at`."""
        self._threads.submit(_logged, self._report_on_asking, association, commitment_id, due_at)

    def sweep(self) -> None:
        """Begin what is due.

        Raises:
            PlatformError: UNAVAILABLE when the database cannot be reached.
        """
        with self._database.reading() as session:
            due = PendingReports(session, self._tenant).due(datetime.now(UTC))
        by_peer: defaultdict[str, list[str]] = defaultdict(list)
        for commitment_id, peer in due:
            by_peer[peer].append(commitment_id)
        for peer, commitment_ids in by_peer.items():
            self._begin(peer, commitment_ids)

    def _begin(self, peer: str, commitment_ids: Sequence[str]) -> None:
        with self._lock:
            if peer in self._peers_at_work or self._stopping.is_set():
                return
            self._peers_at_work.add(peer)
        self._threads.submit(_logged, self._report_to, peer, commitment_ids)

    def _report_on_asking(self, association: Association, commitment_id: str, due_at: datetime) -> None:
        self._stopping.wait(_PAUSE_S)
        commitment = self._claim(commitment_id, due_at)
        if commitment is None:
            return
        if association.is_established and self._send(association, commitment):
            self._done(commitment, "reported")
        elif self._dial.knows(commitment.peer):
            self._put_off(commitment, datetime.now(UTC))
        else:
            self._done(commitment, "association closed")

    def _report_to(self, peer: str, commitment_ids: Sequence[str]) -> None:
        try:
            with self._associated(peer) as association:
                for commitment_id in commitment_ids:
                    if self._stopping.is_set():
                        return
                    commitment = self._claim(commitment_id, datetime.now(UTC))
                    if commitment is not None:
                        self._report(association, commitment)
        finally:
            with self._lock:
                self._peers_at_work.discard(peer)

    def _report(self, association: Association | None, commitment: PendingCommitment) -> None:
        now = datetime.now(UTC)
        if association is not None and association.is_established and self._send(association, commitment):
            self._done(commitment, "reported")
        elif (next_attempt := self._rule.next_attempt(commitment, now)) is not None:
            metrics.COMMITMENTS.labels("put off").inc()
            self._put_off(commitment, next_attempt)
        else:
            self._done(commitment, "given up")

    @contextmanager
    def _associated(self, peer: str) -> Iterator[Association | None]:
        association = self._dial(peer) if self._dial.knows(peer) else None
        try:
            yield association
        finally:
            if association is not None:
                association.release()

    def _claim(self, commitment_id: str, now: datetime) -> PendingCommitment | None:
        with self._database.session() as session:
            until = datetime.now(UTC) + _CLAIM
            return PendingReports(session, self._tenant).claim(commitment_id, now, until=until)

    def _put_off(self, commitment: PendingCommitment, until: datetime) -> None:
        with self._database.session() as session:
            PendingReports(session, self._tenant).put_off(commitment.id, until)

    def _done(self, commitment: PendingCommitment, outcome: str) -> None:
        with self._database.session() as session:
            PendingReports(session, self._tenant).remove(commitment.id)
        metrics.COMMITMENTS.labels(outcome).inc()
        log.info("commitment %s", outcome, extra={"ae_title": commitment.peer, "attempt": commitment.attempt})

    def _send(self, association: Association, commitment: PendingCommitment) -> bool:
        """Check and report; whether the peer has taken the report."""
        references = [InstanceReference(*reference) for reference in commitment.references]
        results = check(self._objects, self._database, self._tenant, references)
        failed = any(result.failure is not None for result in results)
        try:
            status, _ = association.send_n_event_report(
                _information(commitment.transaction_uid, results),
                _SOME_FAILED if failed else _ALL_COMMITTED,
                StorageCommitmentPushModel,
                PUSH_MODEL_INSTANCE,
            )
        except (RuntimeError, ValueError):  # it has just been closed, or has no context for reports
            return False
        return bool(status.get("Status") == SUCCESS)


def _information(transaction_uid: str, results: Sequence[CommitmentResult]) -> Dataset:
    """Event information of PS3.4, table J.3-2."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    committed = [_item(result) for result in results if result.failure is None]
    failed = [_item(result) for result in results if result.failure is not None]
    if committed:
        information.ReferencedSOPSequence = committed
    if failed:
        information.FailedSOPSequence = failed
    return information


def _item(result: CommitmentResult) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = result.reference.sop_class_uid
    item.ReferencedSOPInstanceUID = result.reference.sop_instance_uid
    if result.failure is not None:
        item.FailureReason = int(result.failure)
    return item


def _logged(action: Callable[..., None], *arguments: object) -> None:
    """The outermost loop of a thread: what is not reported stays in SQL."""
    try:
        action(*arguments)
    except PlatformError as error:
        log.warning("commitment not reported: %s", error.message, extra={"code": error.code.value})
    except Exception:
        log.exception("reporting a commitment broke")
