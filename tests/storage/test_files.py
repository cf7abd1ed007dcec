"""Named uploads and what becomes of their bytes."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import StatementError

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.files import Files
from hulumed_platform.storage.objects import ObjectStore, StoredObject
from hulumed_platform.storage.retention import remove_expired, remove_unreferenced
from hulumed_platform.storage.studies import Studies
from hulumed_platform.storage.workflow import Workflow
from tests.storage.rows import NOON, STUDY_UID, after, digest, instance, report

STORED = StoredObject(digest("upload"), 6)
SOON = datetime.now(UTC) + timedelta(hours=1)


def add(
    database: Database, stored: StoredObject = STORED, *, tenant: str = "acme", seconds: float = 0, ttl_s: float = 0
) -> str:
    with database.session() as session:
        file = Files(session).add(
            tenant,
            stored,
            media_type="application/dicom",
            purpose="user_data",
            filename="scan ü 1.00\u202fPM.dcm",
            now=after(seconds),
            expires_at=after(seconds + ttl_s) if ttl_s else None,
        )
    return file.id


def test_a_file_is_found_by_its_id(database: Database) -> None:
    """By its own tenant only."""
    file_id = add(database)
    with database.reading() as session:
        file = Files(session).get("acme", file_id, now=after(1))
        assert file.id.startswith("file-")
        assert (file.digest, file.size_bytes, file.filename) == (STORED.digest, 6, "scan ü 1.00\u202fPM.dcm")
        assert (file.created_at, file.expires_at) == (NOON, None)
        with pytest.raises(PlatformError) as caught:
            Files(session).get("other", file_id, now=after(1))
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_a_file_past_its_end_is_gone(database: Database) -> None:
    """Also before the sweeper has come."""
    file_id = add(database, ttl_s=60)
    with database.reading() as session:
        files = Files(session)
        assert files.get("acme", file_id, now=after(59)).id == file_id
        assert [f.id for f in files.list("acme", now=after(59))] == [file_id]
        with pytest.raises(PlatformError, match="expired"):
            files.get("acme", file_id, now=after(60))
        assert files.list("acme", now=after(60)) == []
        assert [f.id for f in files.expired(after(60))] == [file_id]


def test_files_are_listed_newest_first_by_page_and_purpose(database: Database) -> None:
    """As `/v1/files` answers."""
    ids = [add(database, seconds=n) for n in range(4)]
    with database.reading() as session:
        files = Files(session)
        assert [f.id for f in files.list("acme", now=after(9), limit=3)] == ids[:0:-1]
        assert [f.id for f in files.list("acme", now=after(9), limit=3, after=ids[1])] == ids[:1]
        assert files.list("acme", now=after(9), purpose="batch") == []
        assert files.list("other", now=after(9)) == []


def test_pages_of_files_of_one_instant_lose_none(database: Database) -> None:
    """A page ends in the middle of uploads that came at the same time."""
    ids = sorted(add(database) for _ in range(5))
    with database.reading() as session:
        first = [file.id for file in Files(session).list("acme", now=after(9), limit=2)]
        rest = [file.id for file in Files(session).list("acme", now=after(9), after=first[-1])]
    assert first + rest == ids


def test_a_file_is_deleted_once_and_by_its_tenant(database: Database) -> None:
    """The answer says whether there was one."""
    file_id = add(database)
    with database.session() as session:
        assert not Files(session).delete("other", file_id)
        assert Files(session).delete("acme", file_id)
        assert not Files(session).delete("acme", file_id)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("media_type", "dicom"),
        ("media_type", "a/b\r\nc"),
        ("purpose", "My Purpose"),
        ("filename", ""),
        ("filename", "a\x00b"),
        ("filename", "x" * 256),
        ("filename", "\ud800"),
    ],
)
def test_what_a_client_sends_is_checked(database: Database, field: str, value: str) -> None:
    """A text that PostgreSQL refuses, or that breaks a header, is the client's error and not ours."""
    given = {"media_type": "image/png", "purpose": "vision", "filename": None, field: value}
    with pytest.raises(PlatformError) as caught, database.session() as session:
        Files(session).add("acme", STORED, now=NOON, **given)  # type: ignore[arg-type]
    assert caught.value.code is ErrorCode.INVALID_INPUT


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    """Local time taken for UTC would end leases and files hours early or late."""
    with pytest.raises(StatementError, match="time zone"), database.session() as session:
        Files(session).add("acme", STORED, media_type="image/png", purpose="vision", now=NOON.replace(tzinfo=None))


def test_expired_files_and_then_their_bytes_are_removed(database: Database, objects: ObjectStore) -> None:
    """Bytes that another name still needs stay."""
    once, twice = objects.put("acme", [b"once"]), objects.put("acme", [b"twice"])
    for stored in (once, twice):
        add(database, stored, ttl_s=60)
    kept = add(database, twice)
    assert remove_expired(database, after(59)) == 0
    assert remove_expired(database, after(60)) == 2
    assert remove_unreferenced(database, objects, "acme", put_before=SOON) == 1
    assert not objects.exists("acme", once.digest)
    assert objects.exists("acme", twice.digest)
    with database.reading() as session:
        assert Files(session).get("acme", kept, now=after(90)).digest == twice.digest


def test_bytes_of_studies_and_reports_stay(database: Database, objects: ObjectStore) -> None:
    """Retention of uploads never touches an examination or the evidence of its report."""
    pixels, evidence = objects.put("acme", [f"{STUDY_UID}.1.1".encode()]), objects.put("acme", [b"evidence"])
    with database.session() as session:
        Studies(session).register(instance())
        workflow = Workflow(session)
        (study_id,) = workflow.complete_quiet(after(60), quiet_s=10)
        claim = workflow.claim(study_id, "worker", after(61), lease_s=60)
        assert claim is not None
        workflow.finish(claim, report(evidence=evidence.digest))
    assert remove_unreferenced(database, objects, "acme", put_before=SOON) == 0
    assert objects.exists("acme", pixels.digest)


def test_a_process_killed_between_put_and_register_leaves_an_orphan_only(
    database: Database, objects: ObjectStore
) -> None:
    """No row speaks of it, so nothing was acknowledged; a young one may still get its row, an old one is removed."""
    orphan = objects.put("acme", [b"never registered"])
    with database.reading() as session:
        assert Studies(session).list("acme") == []
    an_hour_ago = SOON - timedelta(hours=2)
    assert remove_unreferenced(database, objects, "acme", put_before=an_hour_ago) == 0
    assert objects.exists("acme", orphan.digest)
    assert remove_unreferenced(database, objects, "acme", put_before=SOON) == 1
    assert not objects.exists("acme", orphan.digest)
