"""Storage commitment answers for exactly what is stored: a wrong yes makes a modality delete its only copy."""

from collections.abc import Iterator

import pytest
from sqlalchemy.orm import Session

from hulumed_platform.archive.commitment import CommitmentFailure, InstanceReference, check
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.studies import Studies
from tests.storage.rows import instance

TENANT = "acme"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A database with the instances 1 to 600 of one study."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('archive') / 'platform.sqlite'}")
    database.migrate()
    with database.session() as session:
        for number in range(1, 601):
            Studies(session).register(instance(number))
        yield session
    database.close()


def reference(number: int, sop_class_uid: str = "") -> InstanceReference:
    row = instance(number)
    return InstanceReference(sop_class_uid or row.sop_class_uid, row.sop_instance_uid)


def test_what_is_stored_is_committed_and_nothing_else(session: Session) -> None:
    """More references than one query takes, in the order they were asked, doubles included."""
    asked = [reference(number) for number in (*range(600, 0, -1), 7, 5000)]
    results = check(session, TENANT, asked)
    assert [result.reference for result in results] == asked
    assert all(result.failure_reason is None for result in results[:-1])
    assert results[-1].failure_reason is CommitmentFailure.NO_SUCH_INSTANCE


def test_another_sop_class_is_a_conflict(session: Session) -> None:
    """The sender means another object than the one that is here."""
    (result,) = check(session, TENANT, [reference(1, "1.2.3")])
    assert result.failure_reason is CommitmentFailure.CLASS_INSTANCE_CONFLICT


def test_another_tenant_has_nothing(session: Session) -> None:
    """What one tenant stored is no promise to another."""
    (result,) = check(session, "other", [reference(1)])
    assert result.failure_reason is CommitmentFailure.NO_SUCH_INSTANCE


@pytest.mark.parametrize("uid", ["", "../1", "1" * 65])
def test_a_malformed_reference_fails_alone(session: Session, uid: str) -> None:
    """One bad item must not cost the others their answer."""
    bad = InstanceReference(reference(1).sop_class_uid, uid)
    good, failed = check(session, TENANT, [reference(1), bad])
    assert good.failure_reason is None
    assert failed.failure_reason is CommitmentFailure.PROCESSING_FAILURE
