"""The tables. Instants are UTC. Patient data stand in `attributes` and the columns made of them, nowhere else."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class StudyState(StrEnum):
    """Where a study is on its path: receiving → complete → queued → running → reported, or failed.

    An `unmatched` study is complete, and no rule has anything for it. A `prior` was fetched for another study.
    """

    RECEIVING = "receiving"
    COMPLETE = "complete"
    QUEUED = "queued"
    RUNNING = "running"
    REPORTED = "reported"
    FAILED = "failed"
    UNMATCHED = "unmatched"
    PRIOR = "prior"


class Instant(TypeDecorator[datetime]):
    """A point in time: aware in Python, `timestamptz` in PostgreSQL, naive UTC in SQLite, which has no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time without a zone: guessing one would move leases and expiries by hours."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time needs a time zone; use datetime.now(UTC)")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class GeneratedText(TypeDecorator[str]):
    """Text a model wrote: NUL, which PostgreSQL cannot store, becomes U+FFFD on every database alike."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Make the text storable."""
        return None if value is None else value.replace("\x00", "\N{REPLACEMENT CHARACTER}")


_UID = String(64)  # DICOM PS3.5, section 6.2: a UI value has at most 64 characters
_DIGEST = String(71)  # "sha256:" and 64 hex digits
_TENANT = String(63)
_ID = String(64)
_EPOCH = "1970-01-01 00:00:00+00:00"  # what SQLite gives to rows that are older than the column


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can speak of it on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (the name and form SQLAlchemy reads)
        datetime: Instant(),
        int: BigInteger(),
        dict[str, Any]: JSON(),
    }


class StoredFile(Base):
    """A named upload: by `/v1/files` (kept until deleted) or inside a chat request (with a time to live).

    `filename` is the user's own and may name a patient: it goes back to its tenant and never into a log.
    """

    __tablename__ = "stored_files"
    __table_args__ = (Index(None, "tenant", "created_at"), Index(None, "tenant", "digest"), Index(None, "expires_at"))

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    tenant: Mapped[str] = mapped_column(_TENANT)
    digest: Mapped[str] = mapped_column(_DIGEST)
    size_bytes: Mapped[int]
    media_type: Mapped[str] = mapped_column(String(127))
    filename: Mapped[str | None] = mapped_column(String(255))
    purpose: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


class Study(Base):
    """A DICOM study of a tenant and how far it has come.

    `revision` counts the instances ever added, so it names one content of the study; `attempt` counts the claims of
    this revision. A worker holds the study while `lease_owner` is its name and `lease_expires_at` lies ahead.
    """

    __tablename__ = "studies"
    __table_args__ = (
        UniqueConstraint("tenant", "study_instance_uid"),
        Index(None, "state", "look_at"),
        Index(None, "tenant", "created_at"),
        Index(None, "tenant", "patient_id"),
        Index(None, "tenant", "study_date"),
        Index(None, "tenant", "accession_number"),
    )

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    tenant: Mapped[str] = mapped_column(_TENANT)
    study_instance_uid: Mapped[str] = mapped_column(_UID)
    state: Mapped[StudyState] = mapped_column(
        Enum(StudyState, native_enum=False, length=16, values_callable=lambda states: [s.value for s in states])
    )
    state_reason: Mapped[str | None] = mapped_column(Text)
    revision: Mapped[int]
    attempt: Mapped[int]
    next_retry_at: Mapped[datetime | None]
    last_received_at: Mapped[datetime]
    opened_at: Mapped[datetime] = mapped_column(server_default=_EPOCH)
    """When the first image came, or the first late one: the force limit counts from here."""
    look_at: Mapped[datetime | None]
    """When an open study is to be looked at again."""
    ended_by: Mapped[str | None] = mapped_column(Text)
    """Who said that the study is over."""
    completion: Mapped[dict[str, Any] | None]
    """Why the study is open, or why it is not any more; see `archive.completion.Reason`."""
    rule: Mapped[dict[str, Any] | None]
    """The rule by which the study goes since it is complete, whole, as it was then."""
    rules_digest: Mapped[str | None] = mapped_column(_DIGEST)
    """Which rules were asked last."""
    priority: Mapped[int] = mapped_column(server_default="0")
    """Of the rule; a higher number is worked on first."""
    queued_at: Mapped[datetime | None]
    lease_owner: Mapped[str | None] = mapped_column(String(255))
    lease_expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    attributes: Mapped[dict[str, Any] | None]
    """In the DICOM JSON model; the columns below are made of it, see `index`. None in rows of the first schema."""
    study_date: Mapped[str | None] = mapped_column(Text)
    study_time: Mapped[str | None] = mapped_column(Text)
    accession_number: Mapped[str | None] = mapped_column(Text)
    referring_physician_name: Mapped[str | None] = mapped_column(Text)
    study_description: Mapped[str | None] = mapped_column(Text)
    patient_name: Mapped[str | None] = mapped_column(Text)
    patient_id: Mapped[str | None] = mapped_column(Text)
    patient_birth_date: Mapped[str | None] = mapped_column(Text)
    patient_sex: Mapped[str | None] = mapped_column(Text)
    dicom_study_id: Mapped[str | None] = mapped_column(Text)


class Series(Base):
    """A DICOM series of a study."""

    __tablename__ = "series"
    __table_args__ = (UniqueConstraint("study_id", "series_instance_uid"),)

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"))
    series_instance_uid: Mapped[str] = mapped_column(_UID)
    modality: Mapped[str | None] = mapped_column(String(16))
    last_received_at: Mapped[datetime] = mapped_column(server_default=_EPOCH)
    num_instances: Mapped[int] = mapped_column(server_default="0")
    door: Mapped[str | None] = mapped_column(String(16))
    """By which the first instance came: `dicomweb` or `dimse`."""
    calling_ae_title: Mapped[str | None] = mapped_column(String(16))
    """Who opened the association by which the first instance came."""
    attributes: Mapped[dict[str, Any] | None]
    """In the DICOM JSON model; the columns below are made of it, see `index`. None in rows of the first schema."""
    series_description: Mapped[str | None] = mapped_column(Text)
    body_part_examined: Mapped[str | None] = mapped_column(Text)
    series_number: Mapped[str | None] = mapped_column(Text)
    performed_procedure_step_start_date: Mapped[str | None] = mapped_column(Text)
    performed_procedure_step_start_time: Mapped[str | None] = mapped_column(Text)
    scheduled_procedure_step_id: Mapped[str | None] = mapped_column(Text)
    requested_procedure_id: Mapped[str | None] = mapped_column(Text)


class Instance(Base):
    """A DICOM instance whose bytes are in the object store. Its SOP Instance UID is unique within the tenant."""

    __tablename__ = "instances"
    __table_args__ = (
        UniqueConstraint("tenant", "sop_instance_uid"),
        Index(None, "series_id"),
        Index(None, "tenant", "digest"),
    )

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    series_id: Mapped[str] = mapped_column(ForeignKey("series.id"))
    tenant: Mapped[str] = mapped_column(_TENANT)
    sop_instance_uid: Mapped[str] = mapped_column(_UID)
    sop_class_uid: Mapped[str] = mapped_column(_UID)
    transfer_syntax_uid: Mapped[str] = mapped_column(_UID)
    digest: Mapped[str] = mapped_column(_DIGEST)
    size_bytes: Mapped[int]
    received_at: Mapped[datetime]
    attributes: Mapped[dict[str, Any] | None]
    """In the DICOM JSON model; the columns below are made of it, see `index`. None in rows of the first schema."""
    instance_number: Mapped[str | None] = mapped_column(Text)

    series: Mapped[Series] = relationship(lazy="joined", innerjoin=True)


class Report(Base):
    """The one report of a revision of a study, with what it needs to be traced and replayed.

    `evidence_digest` names the object that holds the kept tokens of each plane.
    """

    __tablename__ = "reports"
    __table_args__ = (UniqueConstraint("study_id", "revision"), Index(None, "evidence_digest"))

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"))
    revision: Mapped[int]
    text: Mapped[str] = mapped_column(GeneratedText())
    finish_reason: Mapped[str] = mapped_column(String(32))
    model_label: Mapped[str] = mapped_column(String(255))
    trained: Mapped[bool]
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    visual_tokens_before: Mapped[int]
    visual_tokens_after: Mapped[int]
    provenance: Mapped[dict[str, Any]]
    evidence_digest: Mapped[str | None] = mapped_column(_DIGEST)
    created_at: Mapped[datetime]


class InstanceMetadata(Base):
    """A cache: everything of an instance but bulk data, in the DICOM JSON model, compressed by zlib."""

    __tablename__ = "instance_metadata"

    instance_id: Mapped[str] = mapped_column(ForeignKey("instances.id", ondelete="CASCADE"), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class PendingCommitment(Base):
    """A storage commitment that a DIMSE peer asked for and has no report of yet; the row goes with the report.

    `references` are pairs of SOP Class and Instance UID. Whoever reports moves `next_attempt_at` on first, so that no
    one else does at the same time.
    """

    __tablename__ = "pending_commitments"
    __table_args__ = (UniqueConstraint("tenant", "peer", "transaction_uid"), Index(None, "tenant", "next_attempt_at"))

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    tenant: Mapped[str] = mapped_column(_TENANT)
    peer: Mapped[str] = mapped_column(String(16))
    """Its AE title."""
    transaction_uid: Mapped[str] = mapped_column(_UID)
    references: Mapped[list[list[str]]] = mapped_column(JSON)
    attempt: Mapped[int]
    next_attempt_at: Mapped[datetime]
    created_at: Mapped[datetime]
