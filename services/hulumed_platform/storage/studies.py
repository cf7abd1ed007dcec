"""Studies and what they hold: taking instances in exactly once, and looking them up."""

from collections.abc import Sequence
from typing import cast
from uuid import uuid4

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.orm import Session

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage import index
from hulumed_platform.storage.inserts import insert_or_ignore
from hulumed_platform.storage.models import Instance, Series, Study, StudyState
from hulumed_platform.storage.records import InstanceRecord, Registered

# On tables and made once: statements of the mapper's, made for every instance, take five times as long.
_studies, _series, _instances = (cast("Table", model.__table__) for model in (Study, Series, Instance))
_DIGEST = select(_instances.c.digest).where(
    _instances.c.tenant == bindparam("of_tenant"), _instances.c.sop_instance_uid == bindparam("of_instance")
)
_SERIES_ID = select(_series.c.id).where(
    _series.c.study_id == bindparam("of_study"), _series.c.series_instance_uid == bindparam("of_series")
)
_REOPEN = (
    update(_studies)
    .where(_studies.c.tenant == bindparam("of_tenant"), _studies.c.study_instance_uid == bindparam("of_study"))
    .values(
        state=StudyState.RECEIVING,
        state_reason=None,
        revision=_studies.c.revision + 1,
        attempt=0,
        next_retry_at=None,
        queued_at=None,
        lease_owner=None,
        lease_expires_at=None,
        last_received_at=bindparam("last_received_at"),
        updated_at=bindparam("updated_at"),
    )
    .returning(_studies.c.id)
)


class Studies:
    """The studies of all tenants, in a transaction of the caller. How they move on is `workflow.Workflow`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def register(self, record: InstanceRecord) -> Registered:
        """Note an instance whose bytes are stored. Idempotent, and safe against others who do the same at once.

        A NEW instance makes the study, or puts it back, to `receiving` with its next revision: whoever works on the
        old one loses the claim. IDENTICAL and CONFLICT (the tenant has this SOP Instance UID with another digest)
        change nothing. Acknowledge after the commit. A transaction that registers instances of several studies does
        so in the order of their UIDs, else two of them may stop each other (then: UNAVAILABLE, retryable).
        """
        known = self._known(record)
        if known is not None:
            return known
        with self._session.begin_nested() as savepoint:
            study_id = self._reopened_study(record)
            if self._added_instance(record, self._series_id(record, study_id)):
                return Registered.NEW
            savepoint.rollback()  # someone else was quicker; leave no trace in the study
        lost_to = self._known(record)
        assert lost_to is not None, "an instance that blocks an insert is visible once the insert has waited for it"
        return lost_to

    def _known(self, record: InstanceRecord) -> Registered | None:
        key = {"of_tenant": record.tenant, "of_instance": record.sop_instance_uid}
        digest = self._session.connection().execute(_DIGEST, key).scalar()
        if digest is None:
            return None
        return Registered.IDENTICAL if digest == record.digest else Registered.CONFLICT

    def _reopened_study(self, record: InstanceRecord) -> str:
        """Make the study where it is new, lock its row until the commit, count one more instance; return its id."""
        insert_or_ignore(
            self._session,
            Study,
            id=f"study-{uuid4().hex}",
            tenant=record.tenant,
            study_instance_uid=record.study_instance_uid,
            state=StudyState.RECEIVING,
            revision=0,
            attempt=0,
            last_received_at=record.received_at,
            created_at=record.received_at,
            updated_at=record.received_at,
            attributes=record.attributes.study,
            **index.column_values(record.attributes.study, index.STUDY_COLUMNS),
        )
        reopened = {
            "of_tenant": record.tenant,
            "of_study": record.study_instance_uid,
            "last_received_at": record.received_at,
            "updated_at": record.received_at,
        }
        study_id: str = self._session.connection().execute(_REOPEN, reopened).scalar_one()
        return study_id

    def _series_id(self, record: InstanceRecord, study_id: str) -> str:
        insert_or_ignore(
            self._session,
            Series,
            id=f"series-{uuid4().hex}",
            study_id=study_id,
            series_instance_uid=record.series_instance_uid,
            modality=record.modality,
            attributes=record.attributes.series,
            **index.column_values(record.attributes.series, index.SERIES_COLUMNS),
        )
        key = {"of_study": study_id, "of_series": record.series_instance_uid}
        series_id: str = self._session.connection().execute(_SERIES_ID, key).scalar_one()
        return series_id

    def _added_instance(self, record: InstanceRecord, series_id: str) -> bool:
        return insert_or_ignore(
            self._session,
            Instance,
            id=f"instance-{uuid4().hex}",
            series_id=series_id,
            tenant=record.tenant,
            sop_instance_uid=record.sop_instance_uid,
            sop_class_uid=record.sop_class_uid,
            transfer_syntax_uid=record.transfer_syntax_uid,
            digest=record.digest,
            size_bytes=record.size_bytes,
            received_at=record.received_at,
            attributes=record.attributes.instance,
            **index.column_values(record.attributes.instance, index.INSTANCE_COLUMNS),
        )

    def get(self, tenant: str, study_instance_uid: str) -> Study:
        """Return the tenant's study. Raises NOT_FOUND."""
        study = self._session.scalar(
            select(Study).where(Study.tenant == tenant, Study.study_instance_uid == study_instance_uid)
        )
        if study is None:
            raise PlatformError(ErrorCode.NOT_FOUND, "No such study; post its instances first.")
        return study

    def by_id(self, study_id: str) -> Study:
        """Return the study that a task or a claim names. Raises NOT_FOUND."""
        study = self._session.scalar(select(Study).where(Study.id == study_id))
        if study is None:
            raise PlatformError(ErrorCode.NOT_FOUND, f"No study has the id {study_id}.")
        return study

    def list(
        self, tenant: str, *, state: StudyState | None = None, limit: int = 100, offset: int = 0
    ) -> Sequence[Study]:
        """Return a page of the tenant's studies, those that came last first."""
        query = select(Study).where(Study.tenant == tenant)
        if state is not None:
            query = query.where(Study.state == state)
        page = query.order_by(Study.created_at.desc(), Study.id).limit(limit).offset(offset)
        return self._session.scalars(page).all()

    def instances(self, study_id: str) -> Sequence[Instance]:
        """Return the instances, each with its `series`, ordered by Series then SOP Instance UID."""
        return self._session.scalars(
            select(Instance)
            .join(Instance.series)
            .where(Series.study_id == study_id)
            .order_by(Series.series_instance_uid, Instance.sop_instance_uid)
        ).all()

    def instance(self, tenant: str, sop_instance_uid: str) -> Instance | None:
        """Return the tenant's instance, if there is one."""
        return self._session.scalar(
            select(Instance).where(Instance.tenant == tenant, Instance.sop_instance_uid == sop_instance_uid)
        )

    def series(self, study_id: str) -> Sequence[Series]:
        """Return the series, ordered by UID."""
        return self._session.scalars(
            select(Series).where(Series.study_id == study_id).order_by(Series.series_instance_uid)
        ).all()
