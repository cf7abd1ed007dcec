"""How a study moves on: complete → queued → running → reported or failed, each revision worked on by one at a time.

How it becomes complete is `receiving.Receiving`.

SQL is the truth and the broker carries ids only: a message that is lost, late or doubled does no harm, because
`due` finds what must be sent (again) and `claim` lets one worker through. `now` is always given, never read here.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import ColumnElement, Update, and_, func, or_, select, update
from sqlalchemy.orm import Session

from hulumed_platform.storage.models import Report, Study, StudyState
from hulumed_platform.storage.records import Claim, ReportRecord


class Workflow:
    """The studies' state machine, in a transaction of the caller; what it hands out counts after the commit."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def due(self, now: datetime, *, pickup_s: float, limit: int = 100) -> Sequence[str]:
        """Return the ids of studies to be sent to a worker: by priority, then those that wait longest first.

        They are complete; or queued for `pickup_s` without being claimed (the message was lost); or running with a
        lease that ended (the worker died); or failed with a retry whose time has come.
        """
        return self._session.scalars(
            select(Study.id)
            .where(_is_due(now, pickup_s))
            .order_by(Study.priority.desc(), Study.updated_at, Study.id)
            .limit(limit)
        ).all()

    def num_sent(self, now: datetime, *, pickup_s: float) -> int:
        """Count queued studies that are not due (again): their messages are believed to wait in the broker."""
        sent = and_(Study.state == StudyState.QUEUED, Study.queued_at > now - timedelta(seconds=pickup_s))
        return self._session.execute(select(func.count()).where(sent)).scalar_one()

    def counts(self, states: Sequence[StudyState] = tuple(StudyState)) -> dict[StudyState, int]:
        """Count the studies in each of some states."""
        counts = dict.fromkeys(states, 0)
        query = select(Study.state, func.count()).where(Study.state.in_(states)).group_by(Study.state)
        for state, count in self._session.execute(query):
            counts[state] = count
        return counts

    def mark_queued(self, study_id: str, now: datetime, *, pickup_s: float) -> bool:
        """Move a due study to queued; False when it is not due (any more). Send its id after the commit."""
        return bool(
            self._changed(
                update(Study)
                .where(Study.id == study_id, _is_due(now, pickup_s))
                .values(state=StudyState.QUEUED, queued_at=now, lease_owner=None, lease_expires_at=None, updated_at=now)
            )
        )

    def claim(self, study_id: str, owner: str, now: datetime, lease_s: float) -> Claim | None:
        """Take a study to work on it until the lease ends, unless someone holds it or nothing is to be done.

        Counts the attempt, so that a study which kills its workers shows: the holder of one attempt too many calls
        `fail` without a retry.
        """
        row = self._session.execute(
            update(Study)
            .where(Study.id == study_id, or_(Study.state == StudyState.QUEUED, _is_due(now, 0)))
            .values(
                state=StudyState.RUNNING,
                state_reason=None,
                attempt=Study.attempt + 1,
                next_retry_at=None,
                lease_owner=owner,
                lease_expires_at=now + timedelta(seconds=lease_s),
                updated_at=now,
            )
            .returning(Study.revision, Study.attempt),
            execution_options={"synchronize_session": False},
        ).one_or_none()
        return None if row is None else Claim(study_id, row.revision, row.attempt, owner)

    def renew(self, claim: Claim, now: datetime, lease_s: float) -> bool:
        """Lengthen the lease; False tells the holder to stop: the study has new instances or another holder."""
        return self._moved(claim, lease_expires_at=now + timedelta(seconds=lease_s), updated_at=now)

    def finish(self, claim: Claim, report: ReportRecord) -> bool:
        """Store the report and move the study to reported; False, and nothing stored, when the claim is lost.

        A lease that ended while nobody else took the study is still a claim. A revision gets exactly one report.
        """
        if not self._moved(claim, state=StudyState.REPORTED, **_RELEASED, updated_at=report.created_at):
            return False
        values = {name: getattr(report, name) for name in ReportRecord.__slots__}
        self._session.add(
            Report(id=f"report-{uuid4().hex}", study_id=claim.study_id, revision=claim.revision, **values)
        )
        self._session.flush()
        return True

    def fail(self, claim: Claim, reason: str, now: datetime, *, retry_at: datetime | None) -> bool:
        """Move the study to failed with a reason that users may see; without `retry_at` for good.

        New instances open it again in any case. False when the claim is lost.
        """
        return self._moved(
            claim,
            state=StudyState.FAILED,
            state_reason=reason,
            next_retry_at=retry_at,
            **_RELEASED,
            updated_at=now,
        )

    def release(self, claim: Claim, now: datetime) -> bool:
        """Give the study back unfinished, as a worker that is told to stop does; it is due at once."""
        return self._moved(claim, state=StudyState.COMPLETE, **_RELEASED, updated_at=now)

    def _moved(self, claim: Claim, **values: object) -> bool:
        held = and_(
            Study.id == claim.study_id,
            Study.state == StudyState.RUNNING,
            Study.lease_owner == claim.owner,
            Study.revision == claim.revision,
            Study.attempt == claim.attempt,
        )
        return bool(self._changed(update(Study).where(held).values(**values)))

    def _changed(self, statement: Update) -> Sequence[str]:
        returning = statement.returning(Study.id)
        return self._session.scalars(returning, execution_options={"synchronize_session": False}).all()


_RELEASED = {"lease_owner": None, "lease_expires_at": None}


def _is_due(now: datetime, pickup_s: float) -> ColumnElement[bool]:
    return or_(
        Study.state == StudyState.COMPLETE,
        and_(Study.state == StudyState.QUEUED, Study.queued_at <= now - timedelta(seconds=pickup_s)),
        and_(Study.state == StudyState.RUNNING, Study.lease_expires_at <= now),
        and_(Study.state == StudyState.FAILED, Study.next_retry_at <= now),
    )
