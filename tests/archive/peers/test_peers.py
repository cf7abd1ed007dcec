"""Asking a real PACS, by both protocols, for studies of a patient, and fetching them byte for byte."""

import io
import socket
import time
from datetime import date
from typing import BinaryIO

import pydicom
import pytest
from pydicom.data import get_testdata_file

from hulumed_platform.archive.peers.opened import open_peer
from hulumed_platform.archive.peers.peer import Budget, FoundStudy, StudyQuery, read_date
from hulumed_platform.archive.rules.schema import DicomwebPeer, DimsePeer, Peer
from hulumed_platform.core.errors import ErrorCode, PlatformError
from tests.gateway.dicom import instance
from tests.support.pacs import Pacs
from tests.support.processes import free_ports

STUDY = "1.2.826.0.1.3680043.8.498.90"
QUERY = StudyQuery("P1", None, date(2024, 1, 1), date(2026, 1, 1))
PROTOCOLS = ["dimse", "dicomweb"]


def budget(*, timeout_s: float = 20, max_bytes: int = 10**8, max_instances: int = 100) -> Budget:
    return Budget(timeout_s=timeout_s, max_bytes=max_bytes, max_instances=max_instances)


def image(study: int = 1, *, patient: str = "P1", day: str = "20250301", modality: str = "CT") -> bytes:
    uid = f"{STUDY}.{study}"
    given = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "PatientID": patient, "StudyDate": day}
    return instance(**given, Modality=modality)


def fetched(peer: Peer, uid: str, room: Budget) -> list[bytes]:
    files: list[bytes] = []

    def deliver(file: BinaryIO) -> None:
        files.append(file.read())

    open_peer(peer).fetch(uid, deliver, room)
    return files


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_studies_of_the_patient_are_found(pacs: Pacs, protocol: str) -> None:
    """Within the days, of this patient alone, with what the peer says of size and modality."""
    pacs.give(image(1), image(1), image(2, day="20230101"), image(3, patient="P11"), image(4, modality="MR"))
    found = open_peer(pacs.peer(protocol)).studies(QUERY, budget())
    assert sorted(found, key=lambda one: one.study_instance_uid) == [
        FoundStudy(f"{STUDY}.1", date(2025, 3, 1), frozenset({"CT"}), 2),
        FoundStudy(f"{STUDY}.4", date(2025, 3, 1), frozenset({"MR"}), 1),
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_study_comes_whole(pacs: Pacs, protocol: str) -> None:
    """Also compressed instances, as they are; pixels are not touched on the way."""
    compressed = pydicom.dcmread(str(get_testdata_file("JPEG2000.dcm", download=False)))
    compressed.StudyInstanceUID = f"{STUDY}.1"
    buffer = io.BytesIO()
    compressed.save_as(buffer)
    given = [image(), image(), buffer.getvalue()]
    pacs.give(*given)
    files = [pydicom.dcmread(io.BytesIO(file)) for file in fetched(pacs.peer(protocol), f"{STUDY}.1", budget())]
    sent = [pydicom.dcmread(io.BytesIO(content)) for content in given]
    assert {one.SOPInstanceUID: one.PixelData for one in files} == {one.SOPInstanceUID: one.PixelData for one in sent}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_limits_end_a_fetch(pacs: Pacs, protocol: str) -> None:
    """Neither a huge study nor many instances nor a slow peer holds a worker."""
    pacs.give(*(image() for _ in range(4)))
    for room, code in [
        (budget(max_instances=2), ErrorCode.TOO_LARGE),
        (budget(max_bytes=1000), ErrorCode.TOO_LARGE),
    ]:
        with pytest.raises(PlatformError) as caught:
            fetched(pacs.peer(protocol), f"{STUDY}.1", room)
        assert caught.value.code is code


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_peer_that_is_away_says_so(protocol: str) -> None:
    """Nobody listens: retryable, and the message names no patient."""
    (port,) = free_ports(1)
    settings = {
        "dimse": Peer(dimse=DimsePeer(host="127.0.0.1", port=port, ae_title="X")),
        "dicomweb": Peer(dicomweb=DicomwebPeer(url=f"http://127.0.0.1:{port}/dicom-web")),
    }
    with pytest.raises(PlatformError) as caught:
        open_peer(settings[protocol]).studies(QUERY, budget())
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.UNAVAILABLE, True)
    assert "P1" not in caught.value.message


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_peer_that_says_nothing_is_not_waited_for(protocol: str) -> None:
    """It takes the connection and is silent: the time of the rule ends it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = {
            "dimse": Peer(dimse=DimsePeer(host="127.0.0.1", port=port, ae_title="X")),
            "dicomweb": Peer(dicomweb=DicomwebPeer(url=f"http://127.0.0.1:{port}")),
        }
        started = time.monotonic()
        with pytest.raises(PlatformError):
            open_peer(settings[protocol]).studies(QUERY, budget(timeout_s=0.5))
        assert time.monotonic() - started < 5


def test_a_peer_that_does_not_know_the_study(pacs: Pacs) -> None:
    """C-GET of nothing and C-MOVE to a stranger fail with the peer's status; neither hangs."""
    pacs.give(image())
    for peer, uid in [(pacs.peer("dimse"), "1.2.3"), (pacs.peer("dimse", move_to="NOBODY"), f"{STUDY}.1")]:
        with pytest.raises(PlatformError, match="failed with status"):
            fetched(peer, uid, budget())


def test_queries_do_not_show_in_logs() -> None:
    """They are a patient's."""
    assert "P1" not in repr(QUERY)
    assert not QUERY.fits("P11", "")
    assert StudyQuery("P1", "A", QUERY.first, QUERY.last).fits("P1", "A")
    assert not StudyQuery("P1", "A", QUERY.first, QUERY.last).fits("P1", "B")


@pytest.mark.parametrize("text", ["", "2025", "20251301", "2025030a", "20250301-20250302"])
def test_what_is_no_date(text: str) -> None:
    """A study without a date is nobody's earlier study."""
    assert read_date(text) is None
