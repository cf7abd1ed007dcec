"""Whatever dies in the middle of a study, the study ends with exactly one report."""

import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import StudyState
from tests.support.decoder import Holds, ScriptedDecoder, serving
from tests.support.processes import free_ports
from tests.support.redis import redis_server
from tests.support.study_desk import StudyDesk, wait_until
from tests.support.worker import WorkerPlace, WorkerProcess

STOP_S = 10


@pytest.fixture(params=["folder", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path, scripted_decoder: ScriptedDecoder) -> WorkerPlace:
    """A place for workers with each of the brokers."""
    folder_url = f"filesystem://{tmp_path / 'broker'}"
    url = folder_url if request.param == "folder" else request.getfixturevalue("redis_url")
    return WorkerPlace(tmp_path, url, scripted_decoder.address)


@pytest.fixture
def folder_place(tmp_path: Path, scripted_decoder: ScriptedDecoder) -> WorkerPlace:
    """A place for workers with the broker that needs no server."""
    return WorkerPlace(tmp_path, f"filesystem://{tmp_path / 'broker'}", scripted_decoder.address)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[StudyDesk]:
    """Posts studies into the workers' database."""
    database = Database(f"sqlite:///{tmp_path / 'platform.sqlite'}")
    database.migrate()
    yield StudyDesk(database)
    database.close()


def stop(worker: WorkerProcess) -> int:
    """End a worker as an orchestrator does; its exit code."""
    worker.process.send_signal(signal.SIGTERM)
    return worker.process.wait(STOP_S)


def kill(worker: WorkerProcess) -> None:
    """End a worker as a power cut does."""
    worker.process.kill()
    worker.process.wait(STOP_S)


def metrics_of(port: int) -> str:
    """What the worker measured, as Prometheus reads it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        return str(response.read(), "utf-8")


def test_studies_are_reported(place: WorkerPlace, desk: StudyDesk, scripted_decoder: ScriptedDecoder) -> None:
    """Studies posted before and after the start get one report each, and the worker stops cleanly and at once."""
    early = desk.post(1, 2)
    (metrics_port,) = free_ports(1)
    with place.running_worker(metrics_port=metrics_port) as worker:
        desk.wait_for(early, StudyState.REPORTED)
        late = desk.post(1, study="1.2.3")
        desk.wait_for(late, StudyState.REPORTED)
        for line in ('hulumed_study_tasks_total{outcome="reported"} 2.0', 'hulumed_studies{state="reported"} 2.0'):
            wait_until(lambda line=line: line in metrics_of(metrics_port), f"{line} is measured")  # type: ignore[misc]
        assert stop(worker) == 0
    assert len(desk.reports(early)) == len(desk.reports(late)) == 1
    assert len(scripted_decoder.asked) == 2
    assert "Traceback" not in worker.log.read_text()


def test_a_killed_worker_loses_no_study(place: WorkerPlace, desk: StudyDesk, scripted_decoder: ScriptedDecoder) -> None:
    """Killed in the middle of a study and started again, the worker finishes it, once."""
    holds = Holds()
    scripted_decoder.script.append(holds)
    study_id = desk.post(1)
    with place.running_worker() as worker:
        assert holds.reached.wait(20)
        kill(worker)
    assert desk.state(study_id) is StudyState.RUNNING

    with place.running_worker():
        desk.wait_for(study_id, StudyState.REPORTED)
    assert len(desk.reports(study_id)) == 1
    assert desk.study(study_id).attempt == 2


def test_a_stopped_worker_gives_its_study_back(
    place: WorkerPlace, desk: StudyDesk, scripted_decoder: ScriptedDecoder
) -> None:
    """SIGTERM in the middle of a study: it is released, and another worker need not wait for the lease to end."""
    holds = Holds()
    scripted_decoder.script.append(holds)
    study_id = desk.post(1)
    with place.running_worker(lease_s=3600.0, pickup_s=3600.0) as worker:
        assert holds.reached.wait(20)
        assert stop(worker) == 0
    assert holds.left.wait(5)
    assert desk.state(study_id) is StudyState.COMPLETE

    with place.running_worker(lease_s=3600.0, pickup_s=3600.0):
        desk.wait_for(study_id, StudyState.REPORTED)
    assert len(desk.reports(study_id)) == 1


def test_a_stopping_worker_lets_a_study_end(
    folder_place: WorkerPlace, desk: StudyDesk, scripted_decoder: ScriptedDecoder
) -> None:
    """Within the drain time a running study ends with its report, and no other one is begun."""
    holds = Holds()
    scripted_decoder.script.append(holds)
    study_id = desk.post(1)
    with folder_place.running_worker(drain_timeout_s=30.0) as worker:
        assert holds.reached.wait(20)
        worker.process.send_signal(signal.SIGTERM)
        other_id = desk.post(1, study="1.2.3")
        wait_until(lambda: not holds.let_go.wait(1.0), "the study is left to end")
        holds.let_go.set()
        assert worker.process.wait(STOP_S) == 0
    assert desk.state(study_id) is StudyState.REPORTED
    assert desk.state(other_id) is StudyState.RECEIVING


def test_two_workers_share_studies(
    tmp_path: Path, redis_url: str, desk: StudyDesk, scripted_decoder: ScriptedDecoder
) -> None:
    """Both sweep and both listen; every study is asked about once."""
    place = WorkerPlace(tmp_path, redis_url, scripted_decoder.address)
    studies = [desk.post(1, study=f"1.2.{number}") for number in range(12)]
    with place.running_worker(until_ready=False), place.running_worker(until_ready=False):
        for study_id in studies:
            desk.wait_for(study_id, StudyState.REPORTED)
    assert [len(desk.reports(study_id)) for study_id in studies] == [1] * 12
    assert len(scripted_decoder.asked) == 12


def test_a_late_instance_leads_to_one_report_of_all(
    folder_place: WorkerPlace, desk: StudyDesk, scripted_decoder: ScriptedDecoder
) -> None:
    """An instance comes while the decoder answers: that answer is cancelled, and the report tells of both instances."""
    holds = Holds()
    scripted_decoder.script.append(holds)
    study_id = desk.post(1)
    with folder_place.running_worker():
        assert holds.reached.wait(20)
        desk.post(2)
        assert holds.left.wait(20)
        desk.wait_for(study_id, StudyState.REPORTED)
    assert [report.revision for report in desk.reports(study_id)] == [2]
    assert [len(request.media[0].objects) for request in scripted_decoder.asked] == [1, 2]


def test_a_decoder_that_comes_back_is_asked_again(tmp_path: Path, desk: StudyDesk) -> None:
    """While the decoder is away a study waits in SQL, visibly; then it is done."""
    (port,) = free_ports(1)
    place = WorkerPlace(tmp_path, f"filesystem://{tmp_path / 'broker'}", f"127.0.0.1:{port}")
    study_id = desk.post(1)
    with place.running_worker():
        desk.wait_for(study_id, StudyState.FAILED)
        study = desk.study(study_id)
        assert study.next_retry_at is not None
        assert "cannot be reached" in (study.state_reason or "")
        with serving(ScriptedDecoder(), port):
            desk.wait_for(study_id, StudyState.REPORTED)
    assert len(desk.reports(study_id)) == 1


def test_a_broker_that_comes_back_is_used_again(
    tmp_path: Path, desk: StudyDesk, scripted_decoder: ScriptedDecoder
) -> None:
    """The worker starts without its broker, is not ready, works once it is there, and outlives its restart."""
    (port,) = free_ports(1)
    place = WorkerPlace(tmp_path, f"redis://127.0.0.1:{port}/0", scripted_decoder.address)
    first = desk.post(1)
    with place.running_worker(until_ready=False) as worker:
        desk.wait_for(first, StudyState.QUEUED)
        assert not worker.is_ready()
        with redis_server(tmp_path, port):
            desk.wait_for(first, StudyState.REPORTED)
            wait_until(worker.is_ready, "the worker is ready")
        second = desk.post(1, study="1.2.3")
        desk.wait_for(second, StudyState.QUEUED)
        with redis_server(tmp_path, port):
            desk.wait_for(second, StudyState.REPORTED)
            assert stop(worker) == 0
    assert len(desk.reports(first)) == len(desk.reports(second)) == 1


def test_redis_asks_for_its_password(tmp_path: Path, desk: StudyDesk, scripted_decoder: ScriptedDecoder) -> None:
    """The password of the file opens the broker, and is in no log."""
    (tmp_path / "password").write_text("a s3cret/word\n")
    (port,) = free_ports(1)
    with redis_server(tmp_path, port, password="a s3cret/word") as url:
        place = WorkerPlace(tmp_path, url, scripted_decoder.address)
        study_id = desk.post(1)
        with place.running_worker(broker_password_file=tmp_path / "password") as worker:
            desk.wait_for(study_id, StudyState.REPORTED)
            assert stop(worker) == 0
    assert "s3cret" not in worker.log.read_text()


def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A worker changes no schema and guesses no setting: one line says what to do, and it exits."""
    place = WorkerPlace(tmp_path, f"filesystem://{tmp_path / 'broker'}", "127.0.0.1:1")
    with place.running_worker(until_ready=False) as worker:
        assert worker.process.wait(30) == 1
    assert "migrate it first" in worker.log.read_text().splitlines()[-1]

    with place.running_worker(
        until_ready=False, broker_password_file=tmp_path / "absent", broker_url="redis://a"
    ) as worker:
        assert worker.process.wait(30) == 2
    assert "secret file" in worker.log.read_text().splitlines()[-1]
