"""Storage commitment (PS3.4, annex J): is this instance here to stay?"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from sqlalchemy import select

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import Instance
from hulumed_platform.storage.objects import ObjectStore

_ROWS_AT_ONCE = 500


class CommitmentFailure(IntEnum):
    """Failure Reason (0008,1197) of PS3.3, section C.14.1.1. The door itself tells of the last three."""

    PROCESSING_FAILURE = 0x0110
    """The stored object does not have the size it was stored with."""
    NO_SUCH_INSTANCE = 0x0112
    """Not known here, or its object is gone: send it again."""
    CLASS_INSTANCE_CONFLICT = 0x0119
    """Known here, with another SOP class."""
    CLASS_NOT_SUPPORTED = 0x0122
    DUPLICATE_TRANSACTION_UID = 0x0131
    RESOURCE_LIMITATION = 0x0213


@dataclass(frozen=True, slots=True)
class InstanceReference:
    """An instance whose safekeeping is asked for."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class CommitmentResult:
    """What was found; no failure = the instance is committed."""

    reference: InstanceReference
    failure: CommitmentFailure | None


def check(
    objects: ObjectStore, database: Database, tenant: str, references: Sequence[InstanceReference]
) -> list[CommitmentResult]:
    """Look for every instance in SQL and for its object in the store, in the order of the references.

    An object lies under the digest of its bytes, so one of the right size is the one that was acknowledged.

    Raises:
        PlatformError: UNAVAILABLE when a store is away: nothing can be said, ask again.
    """
    known: dict[str, Instance] = {}
    for start in range(0, len(references), _ROWS_AT_ONCE):
        uids = [reference.sop_instance_uid for reference in references[start : start + _ROWS_AT_ONCE]]
        with database.reading() as session:
            rows = session.scalars(
                select(Instance).where(Instance.tenant == tenant, Instance.sop_instance_uid.in_(uids))
            ).all()
        known.update({row.sop_instance_uid: row for row in rows})
    return [
        CommitmentResult(reference, _failure(objects, tenant, reference, known.get(reference.sop_instance_uid)))
        for reference in references
    ]


def _failure(
    objects: ObjectStore, tenant: str, reference: InstanceReference, instance: Instance | None
) -> CommitmentFailure | None:
    if instance is None:
        return CommitmentFailure.NO_SUCH_INSTANCE
    if instance.sop_class_uid != reference.sop_class_uid:
        return CommitmentFailure.CLASS_INSTANCE_CONFLICT
    try:
        size_bytes = objects.size(tenant, instance.digest)
    except PlatformError as error:
        if error.code is not ErrorCode.NOT_FOUND:
            raise
        return CommitmentFailure.NO_SUCH_INSTANCE
    return None if size_bytes == instance.size_bytes else CommitmentFailure.PROCESSING_FAILURE
