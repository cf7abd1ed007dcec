"""The sweeper finds what is complete, due or lost, and tells a broker only what is committed."""

import pytest
from kombu.exceptions import OperationalError

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import StudyState
from hulumed_platform.worker import metrics
from hulumed_platform.worker.completing import Completing
from hulumed_platform.worker.sweeper import Sweeper
from tests.storage.rows import STUDY_UID
from tests.support.rules import live
from tests.support.study_desk import StudyDesk


class Broker:
    """Keeps what it is sent, with the state that SQL shows to others at that time; refuses while it is down."""

    def __init__(self, desk: StudyDesk) -> None:
        self._desk = desk
        self.down = False
        self.sent: list[tuple[str, StudyState]] = []

    def send(self, study_id: str) -> None:
        if self.down:
            raise OperationalError("connection refused")
        self.sent.append((study_id, self._desk.state(study_id)))


@pytest.fixture
def broker(desk: StudyDesk) -> Broker:
    """A broker that is up."""
    return Broker(desk)


def test_a_quiet_study_is_sent_once(desk: StudyDesk, database: Database, broker: Broker) -> None:
    """A study is complete after the quiet time, not before; others see it queued when its message is out."""
    quiet = desk.post(1, age_s=60)
    desk.post(1, study=f"{STUDY_UID}.2", age_s=10)
    sweeper = Sweeper(database, broker.send, Completing(database, live(quiet_s=30)), pickup_s=60)

    sweeper.sweep()
    sweeper.sweep()

    assert broker.sent == [(quiet, StudyState.QUEUED)]


def test_two_sweepers_send_a_study_once(desk: StudyDesk, database: Database, broker: Broker) -> None:
    """Every worker sweeps; SQL lets one through."""
    desk.post(1, age_s=60)
    for _ in range(2):
        Sweeper(database, broker.send, Completing(database, live(quiet_s=30)), pickup_s=60).sweep()
    assert len(broker.sent) == 1


def test_a_lost_message_is_sent_again(desk: StudyDesk, database: Database, broker: Broker) -> None:
    """A study that no worker took up in time is sent again: brokers forget."""
    study_id = desk.post(1, age_s=60)
    sweeper = Sweeper(database, broker.send, Completing(database, live(quiet_s=0)), pickup_s=1e-6)
    sweeper.sweep()
    sweeper.sweep()
    assert broker.sent == [(study_id, StudyState.QUEUED)] * 2


def test_a_broker_that_is_down_loses_nothing(desk: StudyDesk, database: Database, broker: Broker) -> None:
    """What could not be sent is sent when the broker is back, without waiting for the pickup time, and once."""
    studies = {desk.post(1, age_s=60), desk.post(1, study=f"{STUDY_UID}.2", age_s=60)}
    sweeper = Sweeper(database, broker.send, Completing(database, live(quiet_s=0)), pickup_s=3600)
    broker.down = True
    for _ in range(2):
        with pytest.raises(PlatformError) as caught:
            sweeper.sweep()
        assert caught.value.code is ErrorCode.UNAVAILABLE
    assert {desk.state(study) for study in studies} == {StudyState.QUEUED, StudyState.COMPLETE}

    broker.down = False
    sweeper.sweep()
    sweeper.sweep()

    assert sorted(sent for sent, _ in broker.sent) == sorted(studies)


def test_a_backlog_waits_in_sql(desk: StudyDesk, database: Database, broker: Broker) -> None:
    """A night's worth of studies does not pile up in the broker, where each would be sent again and again."""
    for number in range(105):
        desk.post(1, study=f"{STUDY_UID}.{number}", age_s=60)
    sweeper = Sweeper(database, broker.send, Completing(database, live(quiet_s=0)), pickup_s=3600)

    sweeper.sweep()
    sweeper.sweep()

    assert len(broker.sent) == 100
    assert metrics.STUDIES_WAITING._value.get() == 105
    assert metrics.STUDIES.labels("queued")._value.get() == 100
