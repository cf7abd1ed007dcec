"""Orthanc, as Debian ships it, sends to the room."""

from pathlib import Path
from typing import Any

import httpx
from pydicom import dcmread
from pydicom.data import get_testdata_file

from tests.support.dimse import LOOPBACK, Archive, peer
from tests.support.pacs import Pacs
from tests.support.study_desk import wait_until

FILES = ["CT_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "color3d_jpeg_baseline.dcm", "reportsi.dcm"]
ORTHANC = peer("ORTHANC")


def path_of(name: str) -> Path:
    return Path(str(get_testdata_file(name, download=False)))


def ask(pacs: Pacs, method: str, path: str, **body: Any) -> Any:
    """Ask Orthanc's REST interface; its answer."""
    with httpx.Client(timeout=60, trust_env=False) as http:
        response = http.request(method, f"{pacs.url}{path}", **body)
    response.raise_for_status()
    return response.json() if response.content else None


def introduce(pacs: Pacs, port: int) -> None:
    """Tell Orthanc where the room is."""
    room = {"AET": "HULUMED", "Host": LOOPBACK, "Port": port, "AllowStorageCommitment": True}
    ask(pacs, "PUT", "/modalities/room", json=room)


def upload(pacs: Pacs, name: str) -> str:
    return str(ask(pacs, "POST", "/instances", content=path_of(name).read_bytes())["ID"])


def test_orthanc_sends_what_it_has(archive: Archive, pacs: Pacs) -> None:
    """Images in several encodings and a report, on one association, each stored as it was."""
    with archive.room(peers=[ORTHANC]) as room:
        introduce(pacs, room.port)
        ids = [upload(pacs, name) for name in FILES]
        answer = ask(pacs, "POST", "/modalities/room/store", json={"Resources": ids, "Synchronous": True})
        assert answer["FailedInstancesCount"] == 0
        ask(pacs, "POST", "/modalities/room/echo", json={})
    stored = {row.sop_instance_uid: row.transfer_syntax_uid for row in archive.instances()}
    sent = [dcmread(path_of(name), stop_before_pixels=True) for name in FILES]
    assert stored == {dataset.SOPInstanceUID: dataset.file_meta.TransferSyntaxUID for dataset in sent}


def test_orthanc_asks_for_commitment(archive: Archive, pacs: Pacs) -> None:
    """And takes the report on an association of ours."""
    peers = [{**ORTHANC, "reports_to": {"host": LOOPBACK, "port": pacs.dicom_port}}]
    with archive.room(peers=peers) as room:
        introduce(pacs, room.port)
        resources = {"Resources": [upload(pacs, "CT_small.dcm")], "Synchronous": True}
        ask(pacs, "POST", "/modalities/room/store", json=resources)
        path = ask(pacs, "POST", "/modalities/room/storage-commitment", json=resources)["Path"]
        wait_until(lambda: ask(pacs, "GET", path)["Status"] != "Pending", "Orthanc has the report")
        report = ask(pacs, "GET", path)
    assert report["Status"] == "Success"
    uid = dcmread(path_of("CT_small.dcm"), stop_before_pixels=True).SOPInstanceUID
    assert [item["SOPInstanceUID"] for item in report["Success"]] == [uid]
