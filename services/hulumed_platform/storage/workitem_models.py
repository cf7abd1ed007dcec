"""The tables of the worklist (PS3.4, annex CC) and of storage commitment. `attributes` and keys hold patient data."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Boolean, Enum, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hulumed_platform.storage.models import Base


class WorkitemState(StrEnum):
    """Procedure Step State (0074,1000)."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


_ID = String(64)
_UID = String(64)
_TENANT = String(63)
_AE_TITLE = String(16)
MAX_KEY_CHARS = 256
"""Longer values are not searched; the longest VR of a required matching key, LO, has 64 characters."""


class Workitem(Base):
    """A Unified Procedure Step of a tenant.

    `attributes` is its data set in the DICOM JSON model without SOP Class and Instance UID, state and Transaction UID:
    the first follow from the row, and the Transaction UID is the performer's lock, which nobody else may see.
    `revision` counts the changes; a change states the revision it was decided on and fails on any other.
    """

    __tablename__ = "workitems"
    __table_args__ = (UniqueConstraint("tenant", "sop_instance_uid"), Index(None, "tenant", "created_at"))

    id: Mapped[str] = mapped_column(_ID, primary_key=True)
    tenant: Mapped[str] = mapped_column(_TENANT)
    sop_instance_uid: Mapped[str] = mapped_column(_UID)
    state: Mapped[WorkitemState] = mapped_column(
        Enum(WorkitemState, native_enum=False, length=16, values_callable=lambda states: [s.value for s in states])
    )
    transaction_uid: Mapped[str | None] = mapped_column(_UID)
    revision: Mapped[int]
    attributes: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class WorkitemKey(Base):
    """One value by which a workitem is found.

    `path` is the tags down to the attribute, joined by dots; `item` is the numbers of the sequence items on that way:
    keys of one sequence that are to match together do so in one item (PS3.4, section C.2.2.2.6).
    """

    __tablename__ = "workitem_keys"
    __table_args__ = (Index(None, "path", "value"),)

    workitem_id: Mapped[str] = mapped_column(ForeignKey("workitems.id"), primary_key=True)
    path: Mapped[str] = mapped_column(String(255), primary_key=True)
    item: Mapped[str] = mapped_column(String(255), primary_key=True)
    value: Mapped[str] = mapped_column(String(MAX_KEY_CHARS), primary_key=True)


class WorkitemSubscription(Base):
    """An application entity that is told of the changes of one workitem."""

    __tablename__ = "workitem_subscriptions"

    workitem_id: Mapped[str] = mapped_column(ForeignKey("workitems.id"), primary_key=True)
    ae_title: Mapped[str] = mapped_column(_AE_TITLE, primary_key=True)
    deletion_lock: Mapped[bool] = mapped_column(Boolean)


class WorklistSubscription(Base):
    """An application entity that is subscribed to every new workitem, or to those that match `filter`.

    `filter` holds the attributes and values as they stood in the request; it is empty unless `filtered`.
    """

    __tablename__ = "worklist_subscriptions"

    tenant: Mapped[str] = mapped_column(_TENANT, primary_key=True)
    ae_title: Mapped[str] = mapped_column(_AE_TITLE, primary_key=True)
    filtered: Mapped[bool] = mapped_column(Boolean, primary_key=True)
    filter: Mapped[dict[str, Any]]
    deletion_lock: Mapped[bool] = mapped_column(Boolean)


class WorkitemEvent(Base):
    """An event report that waits for its receiver; `id` gives the order. `content` is in the DICOM JSON model."""

    __tablename__ = "workitem_events"
    __table_args__ = (Index(None, "tenant", "ae_title", "id"), Index(None, "created_at"))

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"),  # SQLite numbers rows of an INTEGER key only
        primary_key=True,
        autoincrement=True,
    )
    tenant: Mapped[str] = mapped_column(_TENANT)
    ae_title: Mapped[str] = mapped_column(_AE_TITLE)
    content: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class CommitmentRequest(Base):
    """A request for storage commitment and its answer, a Storage Commitment Response Module (PS3.18, table J.2-1)."""

    __tablename__ = "commitment_requests"
    __table_args__ = (Index(None, "created_at"),)

    tenant: Mapped[str] = mapped_column(_TENANT, primary_key=True)
    transaction_uid: Mapped[str] = mapped_column(_UID, primary_key=True)
    result: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
