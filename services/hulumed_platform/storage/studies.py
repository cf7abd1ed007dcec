"""Studies and what they hold: taking instances in exactly once, and looking them up."""

from collections.abc import Sequence
from typing import cast
from uuid import uuid4

from sqlalchemy import Case, Table, Update, bindparam, case, null, select, update
from sqlalchemy.orm import Session

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage import index
from hulumed_platform.storage.inserts import insert_or_ignore
from hulumed_platform.storage.models import Instance, Instant, Series, Study, StudyState
from hulumed_platform.storage.records import InstanceRecord, Registered

# On tables and made once: statements of the mapper's, made for every instance, take five times as long.
_studies, _series, _instances = (cast("Table", model.__table__) for model in (Study, Series, Instance))
_NOW = bindparam("now", type_=Instant())
_DIGEST = select(_instances.c.digest).where(
    _instances.c.tenant == bindparam("of_tenant"), _instances.c.sop_instance_uid == bindparam("of_instance")
)
_COUNT_IN_SERIES = (
    update(_series)
    .where(_series.c.study_id == bindparam("of_study"), _series.c.series_instance_uid == bindparam("of_series"))
    .values(num_instances=_series.c.num_instances + 1, last_received_at=_NOW)
    .returning(_series.c.id)
)


def _opening(state: StudyState | Case[StudyState]) -> Update:
    """Count one more instance of a study, and begin anew whatever was begun with it."""
    receiving = _studies.c.state == StudyState.RECEIVING
    return (
        update(_studies)
        .where(_studies.c.tenant == bindparam("of_tenant"), _studies.c.study_instance_uid == bindparam("of_study"))
        .values(
            state=state,
            state_reason=None,
            revision=_studies.c.revision + 1,
            attempt=0,
            next_retry_at=None,
            queued_at=None,
            lease_owner=None,
            lease_expires_at=None,
            last_received_at=_NOW,
            opened_at=case((receiving, _studies.c.opened_at), else_=_NOW),
            look_at=_NOW,
            ended_by=None,
            completion=null(),
            rule=null(),
            priority=0,
            updated_at=_NOW,
        )
        .returning(_studies.c.id)
    )


_OPEN = _opening(StudyState.RECEIVING)
_JOIN_PRIORS = _opening(case((_studies.c.state == StudyState.PRIOR, StudyState.PRIOR), else_=StudyState.RECEIVING))
"""A prior that joins priors starts nothing; one that comes to a study that was sent is like any other instance."""


class Studies:
    """The studies of all tenants, in a transaction of the caller. How they move on is `workflow.Workflow`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def register(self, record: InstanceRecord) -> Registered:
        """Note an instance whose bytes are stored. Idempotent, and safe against others who do the same at once.

        A NEW instance makes the study, or puts it back, to `receiving` with its next revision: whoever works on the
        old one loses the claim, and reports of older revisions are superseded. (A `prior` leaves a study of priors one
        of priors.) IDENTICAL and CONFLICT (the tenant has this SOP Instance UID with another digest)
        change nothing. Acknowledge after the commit. A transaction that registers instances of several studies does
        so in the order of their UIDs, else two of them may stop each other (then: UNAVAILABLE, retryable).
        """
        known = self._known(record)
        if known is not None:
            return known
        with self._session.begin_nested() as savepoint:
            study_id = self._reopened_study(record)
            if self._added_instance(record, self._counted_series(record, study_id)):
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
            state=StudyState.PRIOR if record.source.prior else StudyState.RECEIVING,
            revision=0,
            attempt=0,
            priority=0,
            last_received_at=record.received_at,
            opened_at=record.received_at,
            created_at=record.received_at,
            updated_at=record.received_at,
            attributes=record.attributes.study,
            **index.column_values(record.attributes.study, index.STUDY_COLUMNS),
        )
        key = {
            "of_tenant": record.tenant,
            "of_study": record.study_instance_uid,
            "now": record.received_at,
        }
        statement = _JOIN_PRIORS if record.source.prior else _OPEN
        study_id: str = self._session.connection().execute(statement, key).scalar_one()
        return study_id

    def _counted_series(self, record: InstanceRecord, study_id: str) -> str:
        """Make the series where it is new, count one more instance; return its id. The study's row is locked."""
        insert_or_ignore(
            self._session,
            Series,
            id=f"series-{uuid4().hex}",
            study_id=study_id,
            series_instance_uid=record.series_instance_uid,
            modality=record.modality,
            last_received_at=record.received_at,
            num_instances=0,
            door=record.source.door,
            calling_ae_title=record.source.calling_ae_title,
            attributes=record.attributes.series,
            **index.column_values(record.attributes.series, index.SERIES_COLUMNS),
        )
        key = {"of_study": study_id, "of_series": record.series_instance_uid, "now": record.received_at}
        series_id: str = self._session.connection().execute(_COUNT_IN_SERIES, key).scalar_one()
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

    def of_patient(self, tenant: str, patient_id: str, *, first: str, last: str, limit: int) -> Sequence[Study]:
        """Return studies of a patient by date, the newest first; those that are still coming in are left out.

        Dates are DICOM's, YYYYMMDD, both included.
        """
        return self._session.scalars(
            select(Study)
            .where(
                Study.tenant == tenant,
                Study.patient_id == patient_id,
                Study.study_date.between(first, last),
                Study.state != StudyState.RECEIVING,
            )
            .order_by(Study.study_date.desc(), Study.study_time.desc(), Study.id)
            .limit(limit)
        ).all()

    def instances(self, study_id: str) -> Sequence[Instance]:
        """Return the instances, each with its `series`, ordered by Series then SOP Instance UID."""
        return self._session.scalars(
            select(Instance)
            .join(Instance.series)
            .where(Series.study_id == study_id)
            .order_by(Series.series_instance_uid, Instance.sop_instance_uid)
        ).all()

    def series(self, study_id: str) -> Sequence[Series]:
        """Return the series, ordered by UID."""
        return self._session.scalars(
            select(Series).where(Series.study_id == study_id).order_by(Series.series_instance_uid)
        ).all()
