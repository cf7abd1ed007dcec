"""How a study moves on: one worker at a time, one report for a revision, nothing forgotten."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import Study, StudyState
from hulumed_platform.storage.records import Claim
from hulumed_platform.storage.reports import Reports
from hulumed_platform.storage.studies import Studies
from hulumed_platform.storage.workflow import Workflow
from tests.storage.rows import after, instance, report
from tests.support.completing import complete_quiet

LEASE_S = 60
PICKUP_S = 30


@contextmanager
def workflow(database: Database) -> Iterator[Workflow]:
    with database.session() as session:
        yield Workflow(session)


def study(database: Database, study_id: str) -> Study:
    with database.reading() as session:
        return Studies(session).by_id(study_id)


def due(database: Database, seconds: float) -> list[str]:
    with database.reading() as session:
        return list(Workflow(session).due(after(seconds), pickup_s=PICKUP_S))


@pytest.fixture
def study_id(database: Database) -> str:
    """A study that was received at noon and complete a minute later."""
    with database.session() as session:
        Studies(session).register(instance())
        (complete,) = complete_quiet(session, after(60), quiet_s=60)
    return complete


def claim(database: Database, study_id: str, seconds: float, owner: str = "worker-1") -> Claim:
    with workflow(database) as flow:
        claimed = flow.claim(study_id, owner, after(seconds), LEASE_S)
    assert claimed is not None
    return claimed


def test_a_study_is_complete_once_it_is_quiet(database: Database) -> None:
    """DICOM has no end of a study: silence since the last new instance is the sign."""
    with database.session() as session:
        Studies(session).register(instance(1))
        Studies(session).register(instance(2, received_at=after(20)))
    with database.session() as session:
        assert complete_quiet(session, after(49.9), quiet_s=30) == []
        (complete,) = complete_quiet(session, after(50), quiet_s=30)
        assert complete_quiet(session, after(51), quiet_s=30) == []
    assert study(database, complete).state is StudyState.COMPLETE


def test_the_whole_path(database: Database, study_id: str) -> None:
    """complete → queued → running → reported, with the report and nothing left of the lease."""
    assert due(database, 61) == [study_id]
    with workflow(database) as flow:
        assert flow.mark_queued(study_id, after(61), pickup_s=PICKUP_S)
    assert study(database, study_id).state is StudyState.QUEUED
    claimed = claim(database, study_id, 62)
    assert (claimed.revision, claimed.attempt) == (1, 1)
    assert study(database, study_id).state is StudyState.RUNNING
    with workflow(database) as flow:
        assert flow.finish(claimed, report(created_at=after(90)))
    reported = study(database, study_id)
    assert (reported.state, reported.lease_owner, reported.lease_expires_at) == (StudyState.REPORTED, None, None)
    assert reported.updated_at == after(90)
    assert due(database, 10_000) == []


def test_a_study_is_queued_once_and_again_when_the_message_was_lost(database: Database, study_id: str) -> None:
    """Two sweepers do not send twice; a broker that lost the message does not lose the study."""
    with workflow(database) as flow:
        assert flow.mark_queued(study_id, after(61), pickup_s=PICKUP_S)
        assert not flow.mark_queued(study_id, after(62), pickup_s=PICKUP_S)
    assert due(database, 61 + PICKUP_S - 1) == []
    assert due(database, 61 + PICKUP_S) == [study_id]
    with workflow(database) as flow:
        assert flow.mark_queued(study_id, after(61 + PICKUP_S), pickup_s=PICKUP_S)


def test_only_one_of_many_racing_workers_gets_the_study(database: Database, study_id: str) -> None:
    """A message that the broker delivers eight times is worked on once."""
    start = threading.Barrier(8)

    def work(number: int) -> Claim | None:
        start.wait()
        with workflow(database) as flow:
            return flow.claim(study_id, f"worker-{number}", after(61), LEASE_S)

    with ThreadPoolExecutor(8) as pool:
        claims = [claimed for claimed in pool.map(work, range(8)) if claimed is not None]
    assert len(claims) == 1
    assert study(database, study_id).lease_owner == claims[0].owner
    assert study(database, study_id).attempt == 1


def test_a_dead_workers_study_goes_to_another(database: Database, study_id: str) -> None:
    """Killed in the middle: when the lease ends, the study is due, and the late old holder changes nothing."""
    old = claim(database, study_id, 61)
    assert due(database, 61 + LEASE_S - 1) == []
    assert due(database, 61 + LEASE_S) == [study_id]
    new = claim(database, study_id, 61 + LEASE_S)  # under the same name, as a restarted worker has it
    assert new.attempt == 2
    with workflow(database) as flow:
        assert not flow.renew(old, after(130), LEASE_S)
        assert not flow.finish(old, report("late"))
        assert not flow.fail(old, "late", after(130), retry_at=None)
        assert not flow.release(old, after(130))
        assert flow.finish(new, report("in time"))
        assert not flow.finish(new, report("twice"))
    with database.reading() as session:
        assert [r.text for r in Reports(session).history(study_id)] == ["in time"]


def test_a_renewed_lease_holds_longer(database: Database, study_id: str) -> None:
    """A long study is not taken away from a worker that lives."""
    claimed = claim(database, study_id, 61)
    with workflow(database) as flow:
        assert flow.renew(claimed, after(100), LEASE_S)
        assert flow.claim(study_id, "worker-2", after(61 + LEASE_S), LEASE_S) is None
        assert not flow.renew(replace(claimed, owner="worker-2"), after(101), LEASE_S)
    assert due(database, 100 + LEASE_S) == [study_id]


def test_an_ended_lease_that_nobody_took_still_counts(database: Database, study_id: str) -> None:
    """Work that is done and whole is not thrown away because it took a little longer."""
    claimed = claim(database, study_id, 61)
    with workflow(database) as flow:
        assert flow.finish(claimed, report(created_at=after(1000)))


def test_new_instances_take_the_study_away(database: Database, study_id: str) -> None:
    """A report on half a study is not stored once the other half has come; each revision has its own report."""
    old = claim(database, study_id, 61)
    with database.session() as session:
        Studies(session).register(instance(2, received_at=after(70)))
    with workflow(database) as flow:
        assert not flow.renew(old, after(71), LEASE_S)
        assert not flow.finish(old, report("half"))
    with database.session() as session:
        assert complete_quiet(session, after(130), quiet_s=60) == [study_id]
    new = claim(database, study_id, 131)
    assert (new.revision, new.attempt) == (2, 1)
    with workflow(database) as flow:
        assert flow.finish(new, report("whole"))
    with database.reading() as session:
        assert [(r.revision, r.text) for r in Reports(session).history(study_id)] == [(2, "whole")]


def test_a_failure_waits_for_its_retry(database: Database, study_id: str) -> None:
    """The reason is shown meanwhile, and gone once the next attempt runs."""
    claimed = claim(database, study_id, 61)
    with workflow(database) as flow:
        assert flow.fail(claimed, "the encoder is away", after(62), retry_at=after(100))
        assert flow.claim(study_id, "worker-1", after(99), LEASE_S) is None
    failed = study(database, study_id)
    assert (failed.state, failed.state_reason) == (StudyState.FAILED, "the encoder is away")
    assert (failed.attempt, failed.next_retry_at) == (1, after(100))
    assert due(database, 99) == []
    assert due(database, 100) == [study_id]
    assert claim(database, study_id, 100).attempt == 2
    assert study(database, study_id).state_reason is None


def test_a_retry_that_was_queued_is_claimed_at_once(database: Database, study_id: str) -> None:
    """The sweeper queues a due retry; the worker that gets it need not wait for anything more."""
    claimed = claim(database, study_id, 61)
    with workflow(database) as flow:
        flow.fail(claimed, "away", after(62), retry_at=after(100))
        assert flow.mark_queued(study_id, after(100), pickup_s=PICKUP_S)
        assert flow.claim(study_id, "worker-1", after(100), LEASE_S) is not None


def test_a_failure_for_good_is_left_alone(database: Database, study_id: str) -> None:
    """A study nobody can read is not tried for ever."""
    claimed = claim(database, study_id, 61)
    with workflow(database) as flow:
        flow.fail(claimed, "no image in the study", after(62), retry_at=None)
        assert flow.claim(study_id, "worker-1", after(100_000), LEASE_S) is None
    assert due(database, 100_000) == []


def test_a_worker_that_stops_gives_its_study_back(database: Database, study_id: str) -> None:
    """After SIGTERM another worker goes on at once, not when the lease ends."""
    claimed = claim(database, study_id, 61)
    with workflow(database) as flow:
        assert flow.release(claimed, after(62))
    assert due(database, 62) == [study_id]
    assert claim(database, study_id, 63, "worker-2").attempt == 2


def test_studies_that_wait_longest_come_first(database: Database) -> None:
    """A flood of new studies does not starve the old ones."""
    with database.session() as session:
        for number in range(5):
            Studies(session).register(instance(study=f"1.2.{number}"))
            complete_quiet(session, after(60 + number), quiet_s=10)
        found = Workflow(session).due(after(100), pickup_s=PICKUP_S, limit=3)
        uids = [Studies(session).by_id(study_id).study_instance_uid for study_id in found]
    assert uids == ["1.2.0", "1.2.1", "1.2.2"]


def test_a_report_rolled_back_leaves_the_claim(database: Database, study_id: str) -> None:
    """Report and state are one transaction: both or neither."""
    claimed = claim(database, study_id, 61)

    def die() -> None:
        with workflow(database) as flow:
            assert flow.finish(claimed, report())
            raise KeyError

    with pytest.raises(KeyError):
        die()
    assert study(database, study_id).state is StudyState.RUNNING
    with workflow(database) as flow:
        assert flow.finish(claimed, report())
