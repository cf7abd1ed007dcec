"""Storage commitment: does this archive hold an instance for good? One answer for DIMSE and for REST.

A row of an instance is committed only after its bytes are durable in the object store, so the row is the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.storage.models import Instance
from hulumed_platform.storage.records import check_uid

_UIDS_PER_QUERY = 500
"""Both databases take so many parameters in one statement."""


class CommitmentFailure(IntEnum):
    """Failure Reason (0008,1197) of PS3.3, section C.14.1.1."""

    PROCESSING_FAILURE = 0x0110
    """The reference cannot be read: a UID is missing or malformed."""
    NO_SUCH_INSTANCE = 0x0112
    """No such instance is stored here."""
    CLASS_INSTANCE_CONFLICT = 0x0119
    """The instance is stored here, and is of another SOP class."""


@dataclass(frozen=True, slots=True)
class InstanceReference:
    """What a peer asks about; UIDs without padding."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class CommitmentResult:
    """The answer for one reference; without a failure reason the archive is committed to the instance."""

    reference: InstanceReference
    failure_reason: CommitmentFailure | None = None


def check(session: Session, tenant: str, references: Sequence[InstanceReference]) -> list[CommitmentResult]:
    """Answer for every reference, in their order; a reading transaction is enough."""
    uids = sorted({reference.sop_instance_uid for reference in references if _is_well_formed(reference)})
    classes: dict[str, str] = {}
    for start in range(0, len(uids), _UIDS_PER_QUERY):
        query = select(Instance.sop_instance_uid, Instance.sop_class_uid).where(
            Instance.tenant == tenant, Instance.sop_instance_uid.in_(uids[start : start + _UIDS_PER_QUERY])
        )
        classes |= dict(session.execute(query).all())
    return [CommitmentResult(reference, _failure(reference, classes)) for reference in references]


def _failure(reference: InstanceReference, classes: dict[str, str]) -> CommitmentFailure | None:
    if not _is_well_formed(reference):
        return CommitmentFailure.PROCESSING_FAILURE
    match classes.get(reference.sop_instance_uid):
        case None:
            return CommitmentFailure.NO_SUCH_INSTANCE
        case reference.sop_class_uid:
            return None
        case _:
            return CommitmentFailure.CLASS_INSTANCE_CONFLICT


def _is_well_formed(reference: InstanceReference) -> bool:
    try:
        check_uid(reference.sop_class_uid, "SOP Class UID")
        check_uid(reference.sop_instance_uid, "SOP Instance UID")
    except PlatformError:
        return False
    return True
