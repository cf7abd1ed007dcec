"""What is let go at the moment when it comes again is not lost: it is kept, or its sender is told to send again.

Bug: an orphan was found, the same instance was put and registered, and then the orphan was deleted under its row.
"""

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from sqlalchemy.orm import Session

from hulumed_platform.archive.intake import Intake
from hulumed_platform.archive.registration import Registration
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.objects import ObjectStore, StoredObject
from hulumed_platform.storage.retention import remove_unreferenced
from tests.gateway.dicom import instance

TENANT = "acme"
WAIT_S = 20


class _Interrupted:
    """An object store in which something else happens just before a deletion."""

    def __init__(self, objects: ObjectStore, before_delete: Callable[[], object]) -> None:
        self._objects = objects
        self._before_delete = before_delete

    def __getattr__(self, name: str) -> object:
        return getattr(self._objects, name)

    def delete(self, tenant: str, digest: str) -> None:
        self._before_delete()
        self._objects.delete(tenant, digest)


class _Noted:
    """An object store that tells when a put has ended."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self.put_ended = threading.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._objects, name)

    def put(self, tenant: str, chunks: Iterable[bytes], *, max_bytes: int | None = None) -> StoredObject:
        try:
            return self._objects.put(tenant, chunks, max_bytes=max_bytes)
        finally:
            self.put_ended.set()


def _intake(objects: object, database: Database) -> Intake:
    return Intake(objects, Registration(database), tenant=TENANT, max_instance_bytes=1 << 20)  # type: ignore[arg-type]


def _sweep(database: Database, objects: object) -> int:
    later = datetime.now(UTC) + timedelta(hours=1)
    return remove_unreferenced(database, objects, TENANT, put_before=later)  # type: ignore[arg-type]


def test_an_orphan_that_comes_again_while_it_is_deleted(database: Database, objects: ObjectStore) -> None:
    """Put before the deletion, and registered when it may: acknowledged only where the bytes are there."""
    contents = instance()
    digest = objects.put(TENANT, [contents]).digest
    noted = _Noted(objects)
    refused: list[ErrorCode] = []

    def send() -> None:
        try:
            _intake(noted, database).store(BytesIO(contents))
        except PlatformError as error:
            refused.append(error.code)

    sender = threading.Thread(target=send)

    def come_again() -> None:
        sender.start()
        assert noted.put_ended.wait(WAIT_S)
        sender.join(0.5)  # it is done by then, unless it has to wait for us

    assert _sweep(database, _Interrupted(objects, come_again)) == 1
    sender.join(WAIT_S)
    assert refused == [ErrorCode.UNAVAILABLE]
    assert not objects.exists(TENANT, digest)

    assert _intake(objects, database).store(BytesIO(contents)).failure_reason is None
    assert _sweep(database, objects) == 0
    assert objects.read(TENANT, digest) == contents


def test_bytes_that_wait_too_long_for_their_row(database: Database, objects: ObjectStore) -> None:
    """A body that takes longer than orphans may get old, whatever the settings say, is refused and not lost."""
    contents = instance()
    intake = _intake(objects, database)
    received = intake.receive(BytesIO(contents))
    assert _sweep(database, objects) == 1
    with pytest.raises(PlatformError, match="send them again") as refusal:
        intake.register([received])
    assert refusal.value.retryable
    again = intake.receive(BytesIO(contents))
    assert intake.register([again])[0].failure_reason is None
    assert _sweep(database, objects) == 0


def test_a_row_that_comes_before_the_last_look_keeps_the_object(
    database: Database, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found without a row when it was first looked for; it has one when rows are kept out."""
    contents = instance()
    digest = objects.put(TENANT, [contents]).digest
    writing = database.session

    def first_store() -> AbstractContextManager[Session]:
        monkeypatch.undo()
        assert _intake(objects, database).store(BytesIO(contents)).failure_reason is None
        return writing()

    monkeypatch.setattr(database, "session", first_store)
    assert _sweep(database, objects) == 0
    assert objects.exists(TENANT, digest)
