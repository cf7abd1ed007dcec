"""Letting go: names whose time is over, then bytes that no row names any more.

Bytes that are let go may come again at the same moment, and no object store can be told to delete only what nobody
names. So the last look and the deletion are one transaction that keeps new rows out, and whoever commits a row asks
`require_kept` before it acknowledges: either the sweeper sees the row, or the door sees that the bytes are gone.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select, text, union_all
from sqlalchemy.orm import Session

from hulumed_platform.core.errors import ErrorCode, PlatformError
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
            removed += _remove(database, objects, tenant, listed.digest)
    return removed


def require_kept(objects: ObjectStore, tenant: str, digests: Iterable[str]) -> None:
    """Raise UNAVAILABLE where an object is gone; asked when the row that names it is committed, before it is told.

    Bytes that were stored long before their row, or that were an orphan's, may have been let go in between. Sending
    them again stores them again; the row is there already.
    """
    for digest in digests:
        if not objects.exists(tenant, digest):
            raise PlatformError(ErrorCode.UNAVAILABLE, "The bytes were let go before they had a name; send them again.")


def _remove(database: Database, objects: ObjectStore, tenant: str, digest: str) -> bool:
    """Delete an object unless it has got a row by now; no row can come before it is gone."""
    with database.session() as session:
        _keep_rows_out(session)
        if _is_referenced(session, tenant, digest):
            return False
        objects.delete(tenant, digest)
    return True


def _keep_rows_out(session: Session) -> None:
    """Wait for those who are about to commit rows that name objects, and let others wait until this transaction ends.

    On SQLite a transaction that may write is alone in any case.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("LOCK TABLE stored_files, instances, reports IN SHARE MODE"))


def _is_referenced(session: Session, tenant: str, digest: str) -> bool:
    files = select(StoredFile.id).where(StoredFile.tenant == tenant, StoredFile.digest == digest)
    instances = select(Instance.id).where(Instance.tenant == tenant, Instance.digest == digest)
    reports = (
        select(Report.id)
        .join(Study, Study.id == Report.study_id)
        .where(Study.tenant == tenant, Report.evidence_digest == digest)
    )
    return session.execute(union_all(files, instances, reports).limit(1)).first() is not None
