"""Taking instances in: once each, whoever sends them and however often."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import Study, StudyState
from hulumed_platform.storage.records import InstanceRecord, Registered
from hulumed_platform.storage.studies import Studies
from hulumed_platform.storage.workflow import Workflow
from tests.storage.rows import STUDY_UID, after, instance, report
from tests.support.postgres import Postgres


def register(database: Database, *records: InstanceRecord) -> list[Registered]:
    with database.session() as session:
        return [Studies(session).register(record) for record in records]


def study(database: Database, uid: str = STUDY_UID) -> Study:
    with database.reading() as session:
        return Studies(session).get("acme", uid)


def register_at_once(database: Database, records: Sequence[InstanceRecord]) -> list[Registered]:
    """Register each record in a thread of its own, all started together."""
    start = threading.Barrier(len(records))

    def send(record: InstanceRecord) -> Registered:
        start.wait()
        return register(database, record)[0]

    with ThreadPoolExecutor(len(records)) as pool:
        return list(pool.map(send, records))


def test_a_new_instance_opens_its_study(database: Database) -> None:
    """Study, series and instance come into being together."""
    assert register(database, instance(1), instance(2), instance(1, series=2)) == [Registered.NEW] * 3
    opened = study(database)
    assert (opened.state, opened.revision, opened.attempt) == (StudyState.RECEIVING, 3, 0)
    with database.reading() as session:
        studies = Studies(session)
        assert [s.series_instance_uid for s in studies.series(opened.id)] == [f"{STUDY_UID}.1", f"{STUDY_UID}.2"]
        uids = [i.sop_instance_uid for i in studies.instances(opened.id)]
    assert uids == [f"{STUDY_UID}.1.1", f"{STUDY_UID}.1.2", f"{STUDY_UID}.2.1"]


def test_the_same_instance_again_changes_nothing(database: Database) -> None:
    """A sender that did not hear the acknowledgement sends again, perhaps much later."""
    register(database, instance())
    before = study(database)
    assert register(database, instance(received_at=after(900))) == [Registered.IDENTICAL]
    now = study(database)
    assert (now.revision, now.last_received_at) == (before.revision, before.last_received_at)


def test_other_content_under_a_known_uid_is_a_conflict(database: Database) -> None:
    """The first one stays; a study is never changed silently (DICOM PS3.5, section 9: a UID names one object)."""
    register(database, instance())
    assert register(database, instance(content="other")) == [Registered.CONFLICT]
    elsewhere = replace(instance(content="other"), study_instance_uid="1.2.3")
    assert register(database, elsewhere) == [Registered.CONFLICT]
    with database.reading() as session:
        (kept,) = Studies(session).instances(study(database).id)
        assert kept.digest == instance().digest
        assert len(Studies(session).list("acme")) == 1


def test_tenants_have_their_own_studies(database: Database) -> None:
    """The same study posted to two tenants is two studies."""
    assert register(database, instance(), instance(tenant="other")) == [Registered.NEW, Registered.NEW]
    with database.reading() as session:
        (ours,), (theirs,) = Studies(session).list("acme"), Studies(session).list("other")
    assert ours.id != theirs.id


@pytest.mark.parametrize("failed", [False, True])
def test_a_late_instance_opens_the_study_again(database: Database, failed: bool) -> None:
    """A slice that comes after the report, or after the failure, is reported on too."""
    register(database, instance(1))
    with database.session() as session:
        workflow = Workflow(session)
        (study_id,) = workflow.complete_quiet(after(60), quiet_s=30)
        claim = workflow.claim(study_id, "w", after(61), lease_s=60)
        assert claim is not None
        assert workflow.fail(claim, "broken", after(62), retry_at=None) if failed else workflow.finish(claim, report())
    register(database, instance(2, received_at=after(100)))
    now = study(database)
    assert (now.state, now.state_reason, now.revision, now.attempt) == (StudyState.RECEIVING, None, 2, 0)
    assert now.last_received_at == after(100)


def test_one_of_many_racing_senders_is_first(database: Database) -> None:
    """The same new instance of a new study from eight senders at once: one NEW, one row."""
    answers = register_at_once(database, [instance()] * 8)
    assert sorted(answers) == [Registered.IDENTICAL] * 7 + [Registered.NEW]
    assert study(database).revision == 1


def test_racing_senders_of_one_new_study_make_one_study(database: Database) -> None:
    """Parallel associations of one examination: nothing is lost and every instance counts."""
    answers = register_at_once(database, [instance(n, series=n % 2) for n in range(8)])
    assert answers == [Registered.NEW] * 8
    opened = study(database)
    assert opened.revision == 8
    with database.reading() as session:
        assert len(Studies(session).instances(opened.id)) == 8
        assert len(Studies(session).series(opened.id)) == 2


def test_racing_contents_of_one_uid_leave_one(database: Database) -> None:
    """Whoever loses hears of the conflict, also when the other names another study, and leaves no empty study."""
    records = [replace(instance(content=str(n)), study_instance_uid=f"1.2.{n}") for n in range(6)]
    answers = register_at_once(database, records)
    assert sorted(answers) == [Registered.CONFLICT] * 5 + [Registered.NEW]
    with database.reading() as session:
        assert [s.revision for s in Studies(session).list("acme")] == [1]


def test_transactions_that_stop_each_other_are_retryable(postgres: Postgres) -> None:
    """Two posts of two studies in opposite order: PostgreSQL ends one, whose sender may try again."""
    database = Database(postgres.create_database())
    database.migrate()
    middle = threading.Barrier(2)

    def post(first: str, second: str) -> ErrorCode | None:
        try:
            with database.session() as session:
                Studies(session).register(instance(1, study=first, series=int(second[-1])))
                middle.wait()
                Studies(session).register(instance(1, study=second, series=int(second[-1])))
        except PlatformError as error:
            return error.code if error.retryable else ErrorCode.INTERNAL
        return None

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(post, ("1.1", "1.2"), ("1.2", "1.1")))
    assert sorted(ends, key=str) == [None, ErrorCode.UNAVAILABLE]
    database.close()


def test_studies_are_listed_by_page_and_state(database: Database) -> None:
    """The newest come first; pages do not overlap."""
    register(database, *(instance(study=f"1.2.{n}", received_at=after(n)) for n in range(5)))
    with database.reading() as session:
        studies = Studies(session)
        pages = [studies.list("acme", limit=2, offset=offset) for offset in (0, 2, 4)]
        assert [s.study_instance_uid for page in pages for s in page] == [f"1.2.{n}" for n in (4, 3, 2, 1, 0)]
        assert studies.list("acme", state=StudyState.FAILED) == []
        assert len(studies.list("acme", state=StudyState.RECEIVING)) == 5


def test_unknown_studies_are_not_found(database: Database) -> None:
    """Also when another tenant has it."""
    register(database, instance())
    with database.reading() as session:
        with pytest.raises(PlatformError, match="No such study") as caught:
            Studies(session).get("other", STUDY_UID)
        assert caught.value.code is ErrorCode.NOT_FOUND
        with pytest.raises(PlatformError, match="study-0"):
            Studies(session).by_id("study-0")


@pytest.mark.parametrize("uid", ["", "1.2 ", "1.2\x00", "1" * 65, "../1", "1.2\n", "..", "1..2", ".1", "1."])
def test_malformed_uids_are_refused(uid: str) -> None:
    """A UID becomes part of answers and keys; what was sent is not repeated in the message."""
    with pytest.raises(PlatformError, match="SOP instance UID") as caught:
        replace(instance(), sop_instance_uid=uid)
    assert caught.value.code is ErrorCode.INVALID_INPUT


def test_malformed_modalities_are_refused() -> None:
    """Free text in a coded field may be anything, a name too."""
    with pytest.raises(PlatformError, match="modality"):
        replace(instance(), modality="Doe^Jane")
    assert replace(instance(), modality=None).modality is None
