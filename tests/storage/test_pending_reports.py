"""Reports of storage commitment wait in SQL: none is lost, none is brought by two at once."""

from datetime import timedelta

from hulumed_platform.storage.database import Database
from hulumed_platform.storage.pending_reports import PendingReports
from tests.storage.rows import after

NOW = after(0)
REFERENCES = [("1.2.840.10008.5.1.4.1.1.2", "1.2.3"), ("1.2.840.10008.5.1.4.1.1.2", "1.2.4")]


def add(database: Database, transaction_uid: str = "1.2", *, due_at_s: float = 0, peer: str = "CT1") -> str:
    with database.session() as session:
        return PendingReports(session, "acme").add(peer, transaction_uid, REFERENCES, NOW, due_at=after(due_at_s))


def due(database: Database, at_s: float, tenant: str = "acme") -> list[tuple[str, str]]:
    with database.reading() as session:
        return list(PendingReports(session, tenant).due(after(at_s)))


def test_what_is_due_is_found_in_order(database: Database) -> None:
    """Not before its time, and by its tenant only."""
    later, sooner = add(database, "1.2", due_at_s=20), add(database, "1.3", due_at_s=10, peer="MR1")
    assert due(database, 9) == []
    assert due(database, 10) == [(sooner, "MR1")]
    assert due(database, 60) == [(sooner, "MR1"), (later, "CT1")]
    assert due(database, 60, tenant="other") == []


def test_one_claim_is_given_out_at_a_time(database: Database) -> None:
    """Two replicas sweep; one of them calls the modality."""
    commitment_id = add(database)
    with database.session() as session:
        claimed = PendingReports(session, "acme").claim(commitment_id, after(1), until=after(61))
    assert claimed is not None
    assert claimed.references == [list(reference) for reference in REFERENCES]
    assert claimed.attempt == 1
    with database.session() as session:
        assert PendingReports(session, "acme").claim(commitment_id, after(2), until=after(62)) is None
    assert due(database, 60) == []
    assert due(database, 61) == [(commitment_id, "CT1")]


def test_put_off_and_removed(database: Database) -> None:
    """What did not arrive comes again; what did is forgotten."""
    commitment_id = add(database)
    with database.session() as session:
        PendingReports(session, "acme").put_off(commitment_id, NOW + timedelta(hours=1))
    assert due(database, 3599) == []
    assert due(database, 3600) == [(commitment_id, "CT1")]
    with database.session() as session:
        PendingReports(session, "acme").remove(commitment_id)
    assert due(database, 10_000) == []


def test_a_transaction_that_is_asked_again_waits_once(database: Database) -> None:
    """Of one peer: another may use the same UID by accident."""
    add(database)
    again, other = add(database), add(database, peer="MR1")
    assert sorted(due(database, 1)) == sorted([(again, "CT1"), (other, "MR1")])
