"""What keeps studies moving when nobody asks: completes the quiet ones and sends those that are due.

Every worker sweeps; SQL lets one of them through. What a broker loses is found here again.
"""

import logging
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from kombu.exceptions import OperationalError

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import StudyState
from hulumed_platform.storage.workflow import Workflow
from hulumed_platform.worker import metrics

log = logging.getLogger(__name__)

_MAX_SENT = 100
"""Studies that wait in the broker at most; the others wait in SQL, where waiting costs no messages."""


class Sweeper:
    """Sweeps when it is told to, from one thread.

    Args:
        database: where studies are.
        send: gives a study's id to the broker; raises kombu's `OperationalError` where it cannot be reached.
        quiet_s: a study is complete when no instance has come for so long.
        pickup_s: a message that no worker has taken up for so long counts as lost.
    """

    def __init__(self, database: Database, send: Callable[[str], None], *, quiet_s: float, pickup_s: float) -> None:
        self._database = database
        self._send = send
        self._quiet_s = quiet_s
        self._pickup_s = pickup_s
        self._unsent: deque[str] = deque()

    def sweep(self) -> None:
        """Look once.

        Raises:
            PlatformError: UNAVAILABLE when database or broker cannot be reached; what was done stays done.
        """
        now = datetime.now(UTC)
        with self._database.session() as session:
            completed = Workflow(session).complete_quiet(now, self._quiet_s)
        for study_id in completed:
            log.info("study complete", extra={"study": study_id})
        self._count()
        self._send_marked()
        for study_id in self._due(now):
            self._mark(study_id, now)
            self._send_marked()

    def _count(self) -> None:
        with self._database.reading() as session:
            counts = Workflow(session).counts()
        for state, count in counts.items():
            metrics.STUDIES.labels(state.value).set(count)
        metrics.STUDIES_WAITING.set(counts[StudyState.COMPLETE] + counts[StudyState.QUEUED])

    def _due(self, now: datetime) -> list[str]:
        with self._database.reading() as session:
            workflow = Workflow(session)
            room = max(_MAX_SENT - workflow.num_sent(now, pickup_s=self._pickup_s), 0)
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
