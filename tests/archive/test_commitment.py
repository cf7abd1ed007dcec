"""The check behind storage commitment: only what is really here is promised."""

from dataclasses import replace
from pathlib import Path

import pytest

from hulumed_platform.archive.commitment import CommitmentFailure, InstanceReference, check
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.local import LocalObjects
from hulumed_platform.storage.studies import Studies
from tests.storage.rows import instance

CT = "1.2.840.10008.5.1.4.1.1.2"
UID = instance().sop_instance_uid


@pytest.fixture
def database(tmp_path: Path) -> Database:
    """An empty SQLite."""
    made = Database(f"sqlite:///{tmp_path / 'hulumed.sqlite'}")
    made.migrate()
    return made


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    """An empty folder of objects."""
    return LocalObjects(tmp_path / "objects")


def store(objects: LocalObjects, database: Database, content: bytes = b"slice", *, claimed_bytes: int = 5) -> str:
    stored = objects.put("acme", [content])
    with database.session() as session:
        Studies(session).register(replace(instance(), digest=stored.digest, size_bytes=claimed_bytes))
    return stored.digest


def failures(
    objects: LocalObjects, database: Database, *references: InstanceReference, tenant: str = "acme"
) -> list[CommitmentFailure | None]:
    return [result.failure for result in check(objects, database, tenant, references)]


def test_a_stored_instance_is_committed(objects: LocalObjects, database: Database) -> None:
    """And only to its own tenant; answers come in the order of the questions."""
    store(objects, database)
    unknown = InstanceReference(CT, "1.2.3")
    known = InstanceReference(CT, UID)
    assert failures(objects, database, unknown, known, unknown) == [
        CommitmentFailure.NO_SUCH_INSTANCE,
        None,
        CommitmentFailure.NO_SUCH_INSTANCE,
    ]
    assert failures(objects, database, known, tenant="other") == [CommitmentFailure.NO_SUCH_INSTANCE]
    assert failures(objects, database) == []


def test_another_sop_class_is_a_conflict(objects: LocalObjects, database: Database) -> None:
    """The asker means another object than the one that is here."""
    store(objects, database)
    assert failures(objects, database, InstanceReference("1.2.840.10008.5.1.4.1.1.4", UID)) == [
        CommitmentFailure.CLASS_INSTANCE_CONFLICT
    ]


def test_a_row_without_its_object_is_no_instance(objects: LocalObjects, database: Database) -> None:
    """SQL alone is no storage: a sender that deletes its copy on our word would lose the study."""
    digest = store(objects, database)
    objects.delete("acme", digest)
    assert failures(objects, database, InstanceReference(CT, UID)) == [CommitmentFailure.NO_SUCH_INSTANCE]


def test_an_object_of_another_size_is_no_promise(objects: LocalObjects, database: Database) -> None:
    """A file that was cut off on its disk."""
    store(objects, database, claimed_bytes=6)
    assert failures(objects, database, InstanceReference(CT, UID)) == [CommitmentFailure.PROCESSING_FAILURE]


def test_a_store_that_is_away_says_nothing(tmp_path: Path, objects: LocalObjects, database: Database) -> None:
    """No failure of an instance is made up from a failure of ours."""
    away = Database(f"sqlite:///{tmp_path}")
    with pytest.raises(PlatformError) as caught:
        check(objects, away, "acme", [InstanceReference(CT, UID)])
    assert caught.value.code is ErrorCode.UNAVAILABLE


def test_a_thousand_references_are_looked_up_in_pieces(objects: LocalObjects, database: Database) -> None:
    """A database takes only so many values in one statement."""
    store(objects, database)
    references = [InstanceReference(CT, f"1.{number}") for number in range(1200)] + [InstanceReference(CT, UID)]
    assert failures(objects, database, *references).count(None) == 1
