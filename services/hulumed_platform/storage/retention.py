"""Letting go: names whose time is over, then bytes that no row names any more."""

from datetime import datetime

from sqlalchemy import select, union_all
from sqlalchemy.orm import Session

from hulumed_platform.storage.database import Database
from hulumed_platform.storage.files import Files
from hulumed_platform.storage.models import Instance, Report, StoredFile, Study
from hulumed_platform.storage.objects import ObjectStore


def remove_expired(database: Database, now: datetime) -> int:
    """Forget every file past its end; return how many. Their bytes stay until `remove_unreferenced`."""
    removed = 0
    with database.session() as session:
        files = Files(session)
        for file in files.expired(now):
            removed += files.delete(file.tenant, file.id)
    return removed


def remove_unreferenced(database: Database, objects: ObjectStore, tenant: str, *, put_before: datetime) -> int:
    """Delete the tenant's objects that no file, instance or report names; return how many.

    Bytes are stored before their row is, so a young object without a row is no orphan yet: `put_before` must lie
    further back than any upload takes (an hour will do). Putting an object again makes it young again.
    """
    removed = 0
    for listed in objects.list(tenant):
        if listed.modified_at >= put_before:
            continue
        with database.reading() as session:
            referenced = _is_referenced(session, tenant, listed.digest)
        if not referenced:
            objects.delete(tenant, listed.digest)
            removed += 1
    return removed


def _is_referenced(session: Session, tenant: str, digest: str) -> bool:
    files = select(StoredFile.id).where(StoredFile.tenant == tenant, StoredFile.digest == digest)
    instances = select(Instance.id).where(Instance.tenant == tenant, Instance.digest == digest)
    reports = (
        select(Report.id)
        .join(Study, Study.id == Report.study_id)
        .where(Study.tenant == tenant, Report.evidence_digest == digest)
    )
    return session.execute(union_all(files, instances, reports).limit(1)).first() is not None
