"""Rows whose bytes are gone: their studies fail, visibly, and go on once the bytes are there again."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import case, exists, select, update
from sqlalchemy.orm import Session

from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import Instance, Report, Series, Study, StudyState
from hulumed_platform.storage.objects import ObjectStore

REASON = "Images of the study are gone from the object store; restore them or send them again."
"""What such a study has as `state_reason`, and is found by when the images are back."""
_PAGE = 1000
_PAST_RECEIVING = (
    StudyState.COMPLETE,
    StudyState.QUEUED,
    StudyState.RUNNING,
    StudyState.REPORTED,
    StudyState.FAILED,
)
"""One that still comes in is looked at when it is complete; nobody works on the others, unmatched ones and priors."""


def missing_digests(database: Database, objects: ObjectStore, tenant: str) -> Iterator[str]:
    """Yield the digests of the tenant's instances whose bytes are gone, in their order.

    Both sides are read once, in the order of digests; only what seems to be gone is asked for by itself, as it may
    have come since its neighbours were listed.
    """
    listed = (one.digest for one in objects.list(tenant))
    seen = next(listed, None)
    for digest in _named(database, tenant):
        while seen is not None and seen < digest:
            seen = next(listed, None)
        if seen != digest and not objects.exists(tenant, digest):
            yield digest


def fail_studies(session: Session, tenant: str, digests: Sequence[str], now: datetime) -> Sequence[str]:
    """Let the studies fail that hold instances of these digests; return the ids of those that did not before."""
    holding = (
        select(Series.study_id)
        .join(Instance, Instance.series_id == Series.id)
        .where(Instance.tenant == tenant, Instance.digest.in_(digests))
    )
    failed = session.scalars(
        update(Study)
        .where(
            Study.id.in_(holding),
            Study.state.in_(_PAST_RECEIVING),
            Study.state_reason.is_distinct_from(REASON),
        )
        .values(
            state=StudyState.FAILED,
            state_reason=REASON,
            next_retry_at=None,
            lease_owner=None,
            lease_expires_at=None,
            updated_at=now,
        )
        .returning(Study.id),
        execution_options={"synchronize_session": False},
    )
    return failed.all()


def restored_studies(database: Database, objects: ObjectStore, tenant: str) -> Sequence[str]:
    """Return the ids of studies that failed for want of bytes which are all there again."""
    query = select(Study.id).where(
        Study.tenant == tenant, Study.state == StudyState.FAILED, Study.state_reason == REASON
    )
    with database.reading() as session:
        failed = session.scalars(query).all()
    return [study_id for study_id in failed if _is_whole(database, objects, tenant, study_id)]


def restore(session: Session, study_id: str, now: datetime) -> bool:
    """Let a study go on where it was: reported if its last revision has a report, else to be worked on.

    Its attempts count on, as the holder of an old one may still be at work.
    """
    reported = exists().where(Report.study_id == Study.id, Report.revision == Study.revision)
    restored = session.scalars(
        update(Study)
        .where(Study.id == study_id, Study.state == StudyState.FAILED, Study.state_reason == REASON)
        .values(
            state=case((reported, StudyState.REPORTED), else_=StudyState.COMPLETE),
            state_reason=None,
            updated_at=now,
        )
        .returning(Study.id),
        execution_options={"synchronize_session": False},
    )
    return restored.first() is not None


def _named(database: Database, tenant: str) -> Iterator[str]:
    last = ""
    while True:
        with database.reading() as session:
            page = session.scalars(
                select(Instance.digest)
                .where(Instance.tenant == tenant, Instance.digest > last)
                .distinct()
                .order_by(Instance.digest)
                .limit(_PAGE)
            ).all()
        if not page:
            return
        yield from page
        last = page[-1]


def _is_whole(database: Database, objects: ObjectStore, tenant: str, study_id: str) -> bool:
    with database.reading() as session:
        query = select(Instance.digest).join(Series, Series.id == Instance.series_id).where(Series.study_id == study_id)
        digests = session.scalars(query).all()
    return all(objects.exists(tenant, digest) for digest in digests)
