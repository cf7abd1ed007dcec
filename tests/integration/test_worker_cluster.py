"""PostgreSQL, S3 and Redis under real rooms, as in a cluster: what was acknowledged survives whoever is killed."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from hulumed_platform.cli.state import RunFolder
from hulumed_platform.storage.database import Database
from tests.gateway.dicom import CONTENT_TYPE, instance, multipart
from tests.support.platform import Platform, start, stop, wait_until_ready
from tests.support.postgres import Postgres
from tests.support.processes import free_ports
from tests.support.redis import redis_server
from tests.support.s3 import S3Server
from tests.support.study_desk import wait_until

pytestmark = pytest.mark.slow

STUDY = "1.2.826.0.1.3680043.8.498.600"
WAIT_S = 120


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, s3_server: S3Server) -> Iterator[Platform]:
    """A platform whose rooms keep everything in servers; only settings make the difference."""
    folder = tmp_path_factory.mktemp("cluster")
    (port,) = free_ports(1)
    with pytest.MonkeyPatch.context() as patch, redis_server(folder, port) as broker_url:
        for name, value in _settings(folder, postgres, s3_server, broker_url).items():
            patch.setenv(name, value)
        log = folder / "up.log"
        process = start(folder / "data", log=log)
        try:
            yield Platform(folder / "data", process, wait_until_ready(process, folder / "data", log, rooms=7))
        finally:
            stop(process)


def _settings(folder: Path, postgres: Postgres, s3_server: S3Server, broker_url: str) -> dict[str, str]:
    for name, secret in (("access", s3_server.access_key), ("secret", s3_server.secret_key)):
        (folder / name).write_text(secret)
    objects = {
        "OBJECTS_URL": f"s3://{s3_server.bucket}/cluster",
        "S3_ENDPOINT": s3_server.endpoint,
        "S3_SECURE": "false",
        "S3_ACCESS_KEY_FILE": str(folder / "access"),
        "S3_SECRET_KEY_FILE": str(folder / "secret"),
    }
    rows = {"DATABASE_URL": postgres.create_database()}
    database = Database(rows["DATABASE_URL"])
    database.migrate()
    database.close()
    worker = {"BROKER_URL": broker_url, "LEASE_S": "3", "MAX_NEW_TOKENS": "1500"}
    by_room = {"GATEWAY": objects | rows, "DIMSE": objects | rows, "WORKER": objects | rows | worker, "INGEST": objects}
    return {f"HULUMED_{room}_{name}": value for room, fields in by_room.items() for name, value in fields.items()}


def post(platform: Platform, *instances: bytes) -> int:
    """The status of a STOW-RS request."""
    headers = {"Content-Type": CONTENT_TYPE}
    url = f"{platform.url}/dicom-web/studies"
    return httpx.post(url, content=multipart(*instances), headers=headers, timeout=60).status_code


def get(platform: Platform, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{platform.url}{path}", timeout=60).raise_for_status().json()
    return answer


def kill(platform: Platform, room: str) -> None:
    """End a room as a power cut does; its supervisor starts it again."""
    pid = RunFolder(platform.data).rooms()[room].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def is_ready(platform: Platform) -> bool:
    try:
        return httpx.get(f"{platform.url}/readyz", timeout=10).is_success
    except httpx.HTTPError:
        return False


def test_a_killed_worker_finishes_its_study_once(cluster: Platform) -> None:
    """Killed while the decoder answers, brought back by its supervisor: one report, at the second attempt."""
    assert post(cluster, instance(StudyInstanceUID=STUDY)) == 200
    wait_until(lambda: get(cluster, f"/studies/{STUDY}")["state"] == "running", "the study runs", timeout_s=WAIT_S)
    kill(cluster, "worker")
    wait_until(lambda: get(cluster, f"/studies/{STUDY}")["state"] == "reported", "it is reported", timeout_s=WAIT_S)
    assert get(cluster, f"/studies/{STUDY}")["attempt"] == 2
    (report,) = get(cluster, f"/studies/{STUDY}/reports")["reports"]
    assert report["trained"] is False
    (item,) = get(cluster, f"/studies/{STUDY}/evidence")["items"]
    assert item["planes"][0]["kept_bits"]
    assert not (cluster.data / "objects").exists()


def test_a_killed_gateway_keeps_what_it_acknowledged(cluster: Platform) -> None:
    """Killed in the middle of posts: what got 200 is there, and sending all again completes the study."""
    study = f"{STUDY}.1"
    sent: list[bytes] = []
    acknowledged = 0
    killer = threading.Timer(0.5, kill, (cluster, "gateway"))
    killer.start()
    with suppress(httpx.HTTPError):
        while True:
            sent.append(instance(StudyInstanceUID=study, SOPInstanceUID=f"{study}.{len(sent)}"))
            assert post(cluster, sent[-1]) == 200
            acknowledged += 1
    killer.join()
    assert acknowledged
    wait_until(lambda: is_ready(cluster), "the gateway is back", timeout_s=WAIT_S)
    assert acknowledged <= get(cluster, f"/studies/{study}")["num_instances"] <= len(sent)
    assert post(cluster, *sent) == 200
    assert get(cluster, f"/studies/{study}")["num_instances"] == len(sent)
