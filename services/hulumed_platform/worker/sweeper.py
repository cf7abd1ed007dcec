"""What keeps studies moving when nobody asks: completes those that are over and sends those that are due.

Every worker sweeps; SQL lets one of them through. What a broker loses is found here again.
"""

import logging
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from kombu.exceptions import OperationalError

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import StudyState
from hulumed_platform.storage.workflow import Workflow
from hulumed_platform.worker import metrics
from hulumed_platform.worker.completing import Completing

log = logging.getLogger(__name__)

MAX_SENT = 100
"""Studies that wait in the broker at most; the others wait in SQL, where waiting costs no messages."""
_COUNT_ALL_EVERY = timedelta(seconds=10)
"""Studies that are done are many, and counting them takes its time."""
_ON_THE_WAY = (StudyState.RECEIVING, StudyState.COMPLETE, StudyState.QUEUED, StudyState.RUNNING)


class Sweeper:
    """Sweeps when it is told to, from one thread.

    Args:
        database: where studies are.
        send: gives a study's id to the broker; raises kombu's `OperationalError` where it cannot be reached.
        completing: finds out which studies are over.
        pickup_s: a message that no worker has taken up for so long counts as lost.
        max_sent: studies that wait in the broker at most; 0 = complete studies stay where they are.
        clock: what time it is.
    """

    def __init__(
        self,
        database: Database,
        send: Callable[[str], None],
        completing: Completing,
        *,
        pickup_s: float,
        max_sent: int = MAX_SENT,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._send = send
        self._completing = completing
        self._pickup_s = pickup_s
        self._max_sent = max_sent
        self._clock = clock
        self._counted_all_at: datetime | None = None
        self._unsent: deque[str] = deque()

    def sweep(self) -> None:
        """Look once.

        Raises:
            PlatformError: UNAVAILABLE when database or broker cannot be reached; what was done stays done.
        """
        now = self._clock()
        self._completing.look(now)
        self._count(now)
        self._send_marked()
        for study_id in self._due(now):
            self._mark(study_id, now)
            self._send_marked()

    def _count(self, now: datetime) -> None:
        everything = self._counted_all_at is None or now - self._counted_all_at >= _COUNT_ALL_EVERY
        with self._database.reading() as session:
            counts = Workflow(session).counts(tuple(StudyState) if everything else _ON_THE_WAY)
        if everything:
            self._counted_all_at = now
        for state, count in counts.items():
            metrics.STUDIES.labels(state.value).set(count)
        metrics.STUDIES_WAITING.set(counts[StudyState.COMPLETE] + counts[StudyState.QUEUED])

    def _due(self, now: datetime) -> list[str]:
        with self._database.reading() as session:
            workflow = Workflow(session)
            room = max(self._max_sent - workflow.num_sent(now, pickup_s=self._pickup_s), 0)
            return list(workflow.due(now, pickup_s=self._pickup_s, limit=room))

    def _mark(self, study_id: str, now: datetime) -> None:
        with self._database.session() as session:
            marked = Workflow(session).mark_queued(study_id, now, pickup_s=self._pickup_s)
        if marked:
            self._unsent.append(study_id)

    def _send_marked(self) -> None:
        """Send after the commit, so that no message tells of what was rolled back. One that is not sent is kept."""
        while self._unsent:
            try:
                self._send(self._unsent[0])
            except OperationalError as error:
                raise PlatformError(ErrorCode.UNAVAILABLE, "The broker cannot be reached.") from error
            log.info("study sent", extra={"study": self._unsent.popleft()})
