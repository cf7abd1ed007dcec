"""Open studies: looked at when it is time, never overlooked, and opened again by what comes late."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from hulumed_platform.storage.database import Database
from hulumed_platform.storage.endings import end_explicitly
from hulumed_platform.storage.models import Study, StudyState
from hulumed_platform.storage.receiving import Look, Receiving
from hulumed_platform.storage.records import InstanceRecord, Source
from hulumed_platform.storage.studies import Studies
from hulumed_platform.storage.workflow import Workflow
from tests.storage.rows import STUDY_UID, after, digest, instance
from tests.support.completing import complete_quiet

RULES = digest("rules")
OTHER_RULES = digest("other rules")


def prior(number: int, *, seconds: float = 0) -> InstanceRecord:
    return replace(instance(number, received_at=after(seconds)), source=Source(prior=True))


def register(database: Database, *records: InstanceRecord) -> Study:
    with database.session() as session:
        for record in records:
            Studies(session).register(record)
        return Studies(session).get("acme", records[0].study_instance_uid)


def study(database: Database) -> Study:
    with database.reading() as session:
        return Studies(session).get("acme", STUDY_UID)


def to_look_at(database: Database, seconds: float) -> list[str]:
    with database.reading() as session:
        return [one.study_instance_uid for one in Receiving(session).to_look_at(after(seconds), limit=10)]


def look(state: StudyState = StudyState.RECEIVING, *, at: float | None = None, priority: int = 0) -> Look:
    return Look(
        state=state,
        completion={"code": "study_open"},
        rules_digest=RULES,
        look_at=None if at is None else after(at),
        priority=priority,
    )


def write(database: Database, read: Study, found: Look, seconds: float = 0) -> bool:
    with database.session() as session:
        return Receiving(session).write(read, found, after(seconds))


def test_a_study_is_looked_at_when_it_is_time(database: Database) -> None:
    """At once when something came, and then when the look before said."""
    read = register(database, instance())
    assert to_look_at(database, 0) == [STUDY_UID]
    assert write(database, read, look(at=60))
    assert (to_look_at(database, 59), to_look_at(database, 60)) == ([], [STUDY_UID])
    register(database, instance(2, received_at=after(30)))
    assert to_look_at(database, 30) == [STUDY_UID]


@pytest.mark.parametrize("what", ["image", "word"])
def test_what_comes_during_a_look_is_not_overlooked(database: Database, what: str) -> None:
    """The decision was made without it, so it does not count, and the study is looked at again."""
    read = register(database, instance())
    if what == "image":
        register(database, instance(2, received_at=after(5)))
    else:
        with database.session() as session:
            assert end_explicitly(session, "acme", STUDY_UID, "UPS workitem", after(5))
    assert not write(database, read, look(StudyState.COMPLETE))
    assert not write(database, read, look(at=600))
    assert (study(database).state, to_look_at(database, 5)) == (StudyState.RECEIVING, [STUDY_UID])


def test_a_word_is_taken_back_by_the_next_image(database: Database) -> None:
    """Who said that it was over was wrong; a study that is not open, or not there, cannot be ended."""
    register(database, instance())
    with database.session() as session:
        assert end_explicitly(session, "acme", STUDY_UID, "UPS workitem", after(1))
        assert not end_explicitly(session, "other", STUDY_UID, "UPS workitem", after(1))
    assert study(database).ended_by == "UPS workitem"
    read = register(database, instance(2, received_at=after(2)))
    assert read.ended_by is None
    write(database, read, look(StudyState.COMPLETE))
    with database.session() as session:
        assert not end_explicitly(session, "acme", STUDY_UID, "UPS workitem", after(3))


def test_times_of_series_and_of_the_opening(database: Database) -> None:
    """The limit counts from the first image, or from the first late one; each series has its own last image."""
    register(database, instance(), instance(2, received_at=after(10)), instance(1, series=2, received_at=after(20)))
    register(database, instance(2, received_at=after(99)))  # sent twice: nothing new
    with database.reading() as session:
        found = [(one.num_instances, one.last_received_at) for one in Studies(session).series(study(database).id)]
    assert found == [(2, after(10)), (1, after(20))]
    assert study(database).opened_at == after(0)
    write(database, study(database), look(StudyState.COMPLETE))
    assert register(database, instance(3, received_at=after(500))).opened_at == after(500)


def test_urgent_studies_come_first(database: Database) -> None:
    """A rule's priority goes before age, and an image that comes late starts without one."""
    for number, priority in enumerate([0, 5, -5, 5]):
        read = register(database, instance(study=f"1.2.{number}"))
        assert write(database, read, look(StudyState.COMPLETE, priority=priority), number)
    with database.reading() as session:
        due = Workflow(session).due(after(100), pickup_s=10)
        order = [Studies(session).by_id(study_id).study_instance_uid for study_id in due]
    assert order == ["1.2.1", "1.2.3", "1.2.0", "1.2.2"]
    assert register(database, instance(2, study="1.2.1")).priority == 0


def test_unmatched_studies_wait_for_other_rules_or_images(database: Database) -> None:
    """They are never sent; the rules that had nothing for them do not ask again, others do."""
    write(database, register(database, instance()), look(StudyState.UNMATCHED))
    with database.session() as session:
        assert list(Workflow(session).due(after(10_000), pickup_s=10)) == []
        assert Receiving(session).reconsider(RULES, after(50)) == 0
        assert Receiving(session).reconsider(OTHER_RULES, after(50)) == 1
    assert to_look_at(database, 50) == [STUDY_UID]
    write(database, study(database), look(StudyState.UNMATCHED))
    assert register(database, instance(2, received_at=after(60))).state is StudyState.RECEIVING


def test_priors_start_nothing(database: Database) -> None:
    """A study that was fetched for another one is held and never worked on, until someone sends an image of it."""
    assert register(database, prior(1), prior(2, seconds=5)).state is StudyState.PRIOR
    assert to_look_at(database, 1000) == []
    with database.session() as session:
        assert complete_quiet(session, after(1000), quiet_s=0) == []
        assert list(Workflow(session).due(after(1000), pickup_s=0)) == []
    assert register(database, prior(2, seconds=9)).state is StudyState.PRIOR
    assert register(database, instance(3, received_at=after(10))).state is StudyState.RECEIVING
    assert register(database, prior(4, seconds=11)).state is StudyState.RECEIVING


def test_a_look_reads_no_study_that_is_done(tmp_path: Path) -> None:
    """An archive holds hundreds of thousands of those: an index leads to the few whose time has come."""
    database = Database(f"sqlite:///{tmp_path / 'platform.sqlite'}")
    database.migrate()
    with database.session() as session:
        connection = session.connection()
        statements: list[str] = []
        event.listen(connection, "before_cursor_execute", lambda *given: statements.append(given[2]))
        Receiving(session).to_look_at(after(0), limit=10)
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statements[0]}", ("receiving", "2026", 10, 0)).all()
    database.close()
    assert "SEARCH studies USING INDEX ix_studies_state_look_at" in str(plan)
