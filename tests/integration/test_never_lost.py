"""What a door acknowledged is there, byte for byte, whatever dies; and each study gets the one report of all of it."""

import hashlib
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from hulumed_platform.storage import missing
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.local import LocalObjects
from hulumed_platform.storage.models import Study, StudyState
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.storage.reports import Reports
from hulumed_platform.storage.studies import Studies
from hulumed_platform.worker.letting_go import LettingGo
from tests.gateway.dicom import instance
from tests.storage.conftest import s3_objects
from tests.support.decoder import ScriptedDecoder
from tests.support.dimse import data_set
from tests.support.edge import Edge, open_edge
from tests.support.postgres import Postgres
from tests.support.processes import free_ports
from tests.support.s3 import NUM_PORTS, S3Server, running_s3
from tests.support.sending import Sender, by_c_store, by_stow, sending
from tests.support.study_desk import wait_until

pytestmark = pytest.mark.slow

SEED = 20260301
STUDY = "1.2.826.0.1.3680043.8.498.700"
TENANT = "default"
QUIET_S = 5.0
"""Longer than a room takes to come back: a study is complete once, when nobody sends to it any more."""
WAIT_S = 60
_QUICK = {"quiet_s": 1.5, "sweep_interval_s": 0.2, "lease_s": 2.0, "retry_after_s": 0.5, "pickup_s": 5.0}


def test_kill_any_room_at_any_moment(tmp_path: Path, scripted_decoder: ScriptedDecoder) -> None:
    """SQLite and a folder, as on a laptop: each room is killed twice."""
    _kill_rooms(tmp_path, _sqlite(tmp_path), LocalObjects(tmp_path / "objects"), scripted_decoder, rounds=2)


def test_kill_any_room_of_a_cluster(
    tmp_path: Path, postgres: Postgres, s3_server: S3Server, scripted_decoder: ScriptedDecoder
) -> None:
    """PostgreSQL and S3: each room is killed once."""
    stores = _servers(tmp_path, postgres, s3_server)
    _kill_rooms(tmp_path, stores, s3_objects(s3_server, prefix=tmp_path.name), scripted_decoder, rounds=1)


def _kill_rooms(
    folder: Path, stores: Mapping[str, str], objects: ObjectStore, decoder: ScriptedDecoder, *, rounds: int
) -> None:
    """Rooms are killed at random while four senders store, who go on with another study each time."""
    chance = random.Random(SEED)
    victims = ["dimse", "gateway", "worker"] * rounds
    chance.shuffle(victims)
    numbers = [0]
    working = {**_QUICK, "quiet_s": QUIET_S}
    with open_edge(folder, stores=stores, decoder_address=decoder.address, worker=working) as edge:
        senders = [
            Sender(edge, send, _instances(sender, lambda: numbers[0]))
            for sender, send in enumerate((by_c_store, by_c_store, by_stow, by_stow))
        ]
        with sending(senders, timeout_s=WAIT_S):
            for number, victim in enumerate(victims):
                numbers[0] = number
                _kill(edge, victim, chance.uniform(0.1, 0.8))
        _wait_for_reports(edge, [f"{STUDY}.{number}" for number in range(len(victims))])
    assert all(sender.acknowledged for sender in senders)
    assert sum(sender.num_again for sender in senders), "nobody noticed the kills: they came at no bad moment"
    with closing(Database(stores["database_url"])) as database:
        LettingGo(database, objects, TENANT, orphan_age_s=0).let_go()
        _check_instances(database, objects, senders)
        _check_studies(database)


def test_a_full_disk_refuses_until_there_is_room(tmp_path: Path, scripted_decoder: ScriptedDecoder) -> None:
    """Rows and objects on a disk that is full: nothing is acknowledged; once there is room, all goes on by itself."""
    with _disk(tmp_path / "disk") as disk:
        stores = _sqlite(disk)
        with open_edge(tmp_path, stores=stores, decoder_address=scripted_decoder.address, worker=_QUICK) as edge:
            sent = _stored(edge, "1")
            filler = _fill(disk / "filler")
            _check_refuses(edge, "2")
            filler.unlink()
            sent |= _stored(edge, "2")
            _wait_for_reports(edge, [f"{STUDY}.1", f"{STUDY}.2"])
        with closing(Database(stores["database_url"])) as database:
            _check_contents(database, LocalObjects(disk / "objects"), sent)
            _check_studies(database)


def test_servers_that_go_away_and_come_back(
    tmp_path: Path, postgres: Postgres, scripted_decoder: ScriptedDecoder
) -> None:
    """PostgreSQL, then the object store: while one is away nothing is acknowledged, and then all goes on by itself."""
    ports = free_ports(NUM_PORTS)
    (tmp_path / "s3").mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(running_s3(tmp_path / "s3", ports))
        stores = _servers(tmp_path, postgres, server)
        with open_edge(tmp_path, stores=stores, decoder_address=scripted_decoder.address, worker=_QUICK) as edge:
            sent = _stored(edge, "1")
            with postgres.away(stores["database_url"]):
                _check_refuses(edge, "2")
            sent |= _stored(edge, "2")
            stack.close()
            _check_refuses(edge, "3")
            stack.enter_context(running_s3(tmp_path / "s3", ports))
            sent |= _stored(edge, "3")
            _wait_for_reports(edge, [f"{STUDY}.{number}" for number in (1, 2, 3)])
        with closing(Database(stores["database_url"])) as database:
            _check_contents(database, s3_objects(server, prefix=tmp_path.name), sent)
            _check_studies(database)


def test_rows_and_objects_that_do_not_match_are_reconciled(tmp_path: Path, scripted_decoder: ScriptedDecoder) -> None:
    """An object without a row goes; a row without an object shows, until the instance is sent again."""
    working = {**_QUICK, "orphan_age_s": 2.0, "retention_interval_s": 0.3}
    stores = _sqlite(tmp_path)
    objects = LocalObjects(tmp_path / "objects")
    orphan = objects.put(TENANT, [b"of an upload that was killed"])
    with open_edge(tmp_path, stores=stores, decoder_address=scripted_decoder.address, worker=working) as edge:
        sent = _stored(edge, "1")
        _wait_for_reports(edge, [f"{STUDY}.1"])
        wait_until(lambda: not objects.exists(TENANT, orphan.digest), "the orphan is gone")

        whole = {one.digest for one in objects.list(TENANT)}
        objects.delete(TENANT, f"sha256:{hashlib.sha256(_pair('1')[1]).hexdigest()}")
        assert len(list(objects.list(TENANT))) == len(whole) - 1
        wait_until(lambda: edge.state(f"{STUDY}.1")["state"] == "failed", "the study fails")
        assert edge.state(f"{STUDY}.1")["state_reason"] == missing.REASON

        assert by_stow(edge, _pair("1")[1])
        _wait_for_reports(edge, [f"{STUDY}.1"])
    assert {one.digest for one in objects.list(TENANT)} == whole
    with closing(Database(stores["database_url"])) as database:
        _check_contents(database, objects, sent)
        _check_studies(database)


@contextmanager
def _disk(folder: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def _fill(path: Path) -> Path:
    """Leave no byte free."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return path


def _servers(folder: Path, postgres: Postgres, server: S3Server) -> dict[str, str]:
    url = postgres.create_database()
    with closing(Database(url)) as database:
        database.migrate()
    (folder / "access").write_text(server.access_key)
    (folder / "secret").write_text(server.secret_key)
    return {
        "database_url": url,
        "objects_url": f"s3://{server.bucket}/{folder.name}",
        "s3_endpoint": server.endpoint,
        "s3_secure": "false",
        "s3_access_key_file": str(folder / "access"),
        "s3_secret_key_file": str(folder / "secret"),
    }


def _pair(name: str) -> tuple[bytes, bytes]:
    """Two instances of a study."""
    one, two = (
        instance(StudyInstanceUID=f"{STUDY}.{name}", SOPInstanceUID=f"{STUDY}.{name}.{number}") for number in (1, 2)
    )
    return one, two


def _stored(edge: Edge, name: str) -> dict[str, bytes]:
    """Send until both doors have acknowledged, which is soon; the data sets by their SOP Instance UIDs."""
    one, two = _pair(name)
    wait_until(lambda: by_c_store(edge, one), "an instance is stored by C-STORE", timeout_s=WAIT_S)
    wait_until(lambda: by_stow(edge, two), "an instance is stored by STOW-RS", timeout_s=WAIT_S)
    return {f"{STUDY}.{name}.1": data_set(one), f"{STUDY}.{name}.2": data_set(two)}


def _check_refuses(edge: Edge, name: str) -> None:
    """Both doors tell the sender to come again, and say so more than once."""
    one, two = _pair(name)
    for _ in range(2):
        assert edge.c_store(one) == [0xA700]
        answer = edge.stow(two)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0


def _sqlite(folder: Path) -> dict[str, str]:
    url = f"sqlite:///{folder / 'platform.sqlite'}"
    with closing(Database(url)) as database:
        database.migrate()
    return {"database_url": url, "objects_url": (folder / "objects").as_uri()}


def _instances(sender: int, study: Callable[[], int]) -> Iterator[tuple[str, bytes]]:
    """Instances of whatever study is on, each with pixels of its own; a series is one sender's."""
    number = 0
    while True:
        number += 1
        study_uid = f"{STUDY}.{study()}"
        series_uid = f"{study_uid}.{sender + 1}"
        uid = f"{series_uid}.{number}"
        pixels = random.Random(uid).randbytes(512)
        yield (
            uid,
            instance(StudyInstanceUID=study_uid, SeriesInstanceUID=series_uid, SOPInstanceUID=uid, PixelData=pixels),
        )


def _kill(edge: Edge, victim: str, after_s: float) -> None:
    time.sleep(after_s)
    room = edge.rooms[victim]
    room.kill()
    room.start()
    room.wait()


def _wait_for_reports(edge: Edge, studies: list[str]) -> None:
    for study in studies:
        wait_until(partial(_is_reported, edge, study), f"{study} is reported", timeout_s=WAIT_S)


def _is_reported(edge: Edge, study: str) -> bool:
    return bool(edge.state(study)["state"] == "reported")


def _check_instances(database: Database, objects: ObjectStore, senders: list[Sender]) -> None:
    """Every acknowledged instance has one row, and bytes that are as they were sent; nobody else has one."""
    sent = {uid: contents for sender in senders for uid, contents in sender.acknowledged.items()}
    found = _check_contents(database, objects, {uid: data_set(contents) for uid, contents in sent.items()})
    # by C-STORE comes a data set; its file meta information is the room's
    for sender in (sender for sender in senders if sender.send is by_stow):
        for uid, contents in sender.acknowledged.items():
            assert found[uid] == contents


def _check_contents(database: Database, objects: ObjectStore, data_sets: Mapping[str, bytes]) -> dict[str, bytes]:
    """Exactly these instances have rows, one each; the stored files by SOP Instance UID."""
    with database.reading() as session:
        studies = Studies(session)
        rows = [row for study in studies.list(TENANT) for row in studies.instances(study.id)]
    found = {row.sop_instance_uid: objects.read(TENANT, row.digest) for row in rows}
    assert len(found) == len(rows)
    assert {uid: data_set(contents) for uid, contents in found.items()} == data_sets
    return found


def _check_studies(database: Database) -> None:
    """A study counts each instance once, and has one report: of its last revision."""
    with database.reading() as session:
        studies: list[Study] = list(Studies(session).list(TENANT))
        for study in studies:
            assert study.state is StudyState.REPORTED
            assert study.revision == len(Studies(session).instances(study.id))
            series = Studies(session).series(study.id)
            assert sum(one.num_instances for one in series) == study.revision
            assert [report.revision for report in Reports(session).history(study.id)] == [study.revision]
