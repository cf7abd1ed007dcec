"""Instances that come in at the same time share a transaction, and none shares the fate of another."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError

from hulumed_platform.archive.registrar import Registrar
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.records import Registered
from hulumed_platform.storage.studies import Studies
from tests.storage.rows import STUDY_UID, instance

THREADS = 8


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    opened = Database(f"sqlite:///{tmp_path / 'platform.sqlite'}", lock_timeout_s=0.2)
    opened.migrate()
    yield opened
    opened.close()


def num_instances(database: Database) -> int:
    with database.reading() as session:
        studies = Studies(session)
        return sum(len(studies.instances(study.id)) for study in studies.list("acme"))


def test_threads_register_every_instance_once(database: Database) -> None:
    """Each hears what became of its own: new, the same again, or in conflict."""
    registrar = Registrar(database)
    records = [instance(number, study=f"{STUDY_UID}.{number % 3}") for number in range(200)]
    with ThreadPoolExecutor(THREADS) as threads:
        first = list(threads.map(registrar.register, records))
        again = list(threads.map(registrar.register, records))
        other = list(threads.map(registrar.register, [replace(record, digest="sha256:0") for record in records]))
    assert set(first) == {Registered.NEW}
    assert set(again) == {Registered.IDENTICAL}
    assert set(other) == {Registered.CONFLICT}
    assert num_instances(database) == 200


def test_the_same_instance_from_two_senders_is_new_once(database: Database) -> None:
    """In one transaction, too, the second sees the first."""
    registrar = Registrar(database)
    with ThreadPoolExecutor(THREADS) as threads:
        results = list(threads.map(registrar.register, [instance(1)] * THREADS))
    assert sorted(results) == [Registered.IDENTICAL] * (THREADS - 1) + [Registered.NEW]


def test_a_record_that_breaks_the_transaction_fails_alone(database: Database) -> None:
    """A fault of ours in one row must not refuse the instances that happened to come in beside it."""
    registrar = Registrar(database)
    records = [instance(number) for number in range(100)]
    broken = replace(records[50], received_at=records[50].received_at.replace(tzinfo=None))

    def register(number: int) -> Registered | str:
        try:
            return registrar.register(broken if number == 50 else records[number])
        except StatementError as error:
            return type(error).__name__

    with ThreadPoolExecutor(THREADS) as threads:
        results = list(threads.map(register, range(100)))
    assert results.count(Registered.NEW) == 99
    assert results[50] == "StatementError"
    assert num_instances(database) == 99


def test_a_database_that_is_locked_is_told_to_everyone(database: Database) -> None:
    """Nobody is acknowledged, nobody waits for longer than the lock may take, and all goes on afterwards."""
    registrar = Registrar(database)
    locked, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with database.session() as session:
            session.execute(text("SELECT 1"))
            locked.set()
            go_on.wait(20)

    def code(number: int) -> ErrorCode:
        with pytest.raises(PlatformError) as caught:
            registrar.register(instance(number))
        return caught.value.code

    with ThreadPoolExecutor(THREADS + 1) as threads:
        holder = threads.submit(hold)
        assert locked.wait(5)
        assert set(threads.map(code, range(THREADS))) == {ErrorCode.UNAVAILABLE}
        go_on.set()
        holder.result()
        assert set(threads.map(registrar.register, [instance(number) for number in range(THREADS)])) == {Registered.NEW}
