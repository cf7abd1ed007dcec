"""Answers of storage commitment: each Transaction UID once, and not for ever."""

from datetime import timedelta

from hulumed_platform.storage.commitments import KEPT_FOR, Commitments
from hulumed_platform.storage.database import Database
from tests.storage.rows import NOON


def test_an_answer_is_kept_once_for_each_tenant_and_transaction(database: Database) -> None:
    """The second one is refused and the first stands; it goes when nobody will ask any more."""
    with database.session() as session:
        ours, theirs = Commitments(session, "acme"), Commitments(session, "other")
        assert ours.add("1.2", {"00081199": {"vr": "SQ"}}, NOON)
        assert not ours.add("1.2", {}, NOON)
        assert theirs.find("1.2") is None
        assert theirs.add("1.2", {}, NOON)
        assert ours.find("1.2") == {"00081199": {"vr": "SQ"}}
        assert ours.add("1.3", {}, NOON + KEPT_FOR + timedelta(seconds=1))
        assert ours.find("1.2") is None
