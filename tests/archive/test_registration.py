"""Rows that are committed together are committed as if each had been alone, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy.exc import StatementError

from hulumed_platform.archive.registration import Registration
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.records import DicomAttributes, Registered
from hulumed_platform.storage.studies import Studies
from tests.storage.rows import instance

TENANT = "acme"


def test_many_at_once_are_each_told_their_own(database: Database) -> None:
    """Senders of one study and of several, with the same instances among them: each is new exactly once."""
    registration = Registration(database)
    batches = [
        [instance(number, study=f"1.2.{sender % 3}", tenant=TENANT) for number in range(6)] for sender in range(9)
    ]
    with ThreadPoolExecutor(9) as senders:
        told = list(senders.map(registration.register, batches))
    assert [len(answers) for answers in told] == [6] * 9
    assert sum(answer is Registered.NEW for answers in told for answer in answers) == 18
    assert all(answer in (Registered.NEW, Registered.IDENTICAL) for answers in told for answer in answers)
    with database.reading() as session:
        assert Studies(session).get(TENANT, "1.2.1").revision == 6


def test_answers_are_in_the_order_of_the_records(database: Database) -> None:
    """Rows go in by study; answers come back as asked."""
    registration = Registration(database)
    first, second = instance(1, study="1.2.9", tenant=TENANT), instance(1, study="1.2.1", tenant=TENANT)
    other = replace(second, digest=f"sha256:{'0' * 64}")
    assert registration.register([first, second]) == [Registered.NEW] * 2
    assert registration.register([first, other]) == [Registered.IDENTICAL, Registered.CONFLICT]


def test_one_bad_record_costs_nobody_else(database: Database) -> None:
    """What a driver cannot write is the fault of who sent it, not of who came at the same time."""
    registration = Registration(database)
    bad = replace(instance(1, study="1.2.7", tenant=TENANT), attributes=DicomAttributes(study={"x": float("nan")}))
    good = [[instance(number, study="1.2.8", tenant=TENANT)] for number in range(8)]
    with ThreadPoolExecutor(9) as senders:
        broken = senders.submit(registration.register, [bad])
        told = list(senders.map(registration.register, good))
    assert told == [[Registered.NEW]] * 8
    with pytest.raises((StatementError, ValueError)):  # of SQLite, of PostgreSQL
        broken.result()
