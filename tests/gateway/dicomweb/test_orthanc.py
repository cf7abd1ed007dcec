"""Orthanc's DICOMweb client as a peer: it posts to the gateway, searches it, and fetches everything back."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from hulumed_platform.archive.registration import Registration
from hulumed_platform.storage.database import Database
from tests.gateway.conftest import RunningGateway, serving
from tests.gateway.dicomweb.corpus import sample
from tests.support.processes import free_ports

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_NAMES = [
    "explicit",
    "implicit",
    "big endian",
    "RLE",
    "JPEG 2000",
    "JPEG-LS",
    "JPEG lossless",
    "JPEG, colour",
    "palette",
]

pytestmark = pytest.mark.skipif(
    shutil.which("Orthanc") is None or not _PLUGIN.exists(), reason="needs the packages orthanc and orthanc-dicomweb"
)


@pytest.fixture(scope="module")
def empty(gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a gateway without studies."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('peer') / 'hulumed.sqlite'}")
    database.migrate()
    settings = gateway.door.settings.model_copy(update={"port": free_ports(1)[0]})
    door = replace(gateway.door, settings=settings, database=database, registration=Registration(database))
    with serving(door) as url:
        yield url
    database.close()


@pytest.fixture(scope="module")
def orthanc(empty: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("orthanc")
    port = free_ports(1)[0]
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "Plugins": [str(_PLUGIN)],
        "DicomWeb": {"Enable": True, "Servers": {"gateway": {"Url": f"{empty}/dicom-web/", "HasDelete": False}}},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            _wait(http, process)
            yield http
    finally:
        process.terminate()
        process.wait(30)


def _wait(http: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            http.get("/system").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    pytest.fail("Orthanc did not start")


def test_there_and_back(orthanc: httpx.Client, empty: str) -> None:
    """Its boundaries are longer than allowed, it cannot read 204, and it asks in its own way for transfer syntaxes."""
    samples = [sample(name) for name in _NAMES]
    ids = [orthanc.post("/instances", content=one.content).json()["ID"] for one in samples]
    peer = "/dicom-web/servers/gateway"
    stored = orthanc.post(f"{peer}/stow", json={"Resources": ids, "Synchronous": True})
    assert stored.json()["InstancesCount"] == str(len(samples))
    studies = {one.dataset.StudyInstanceUID for one in samples}
    found = orthanc.post(f"{peer}/qido", json={"Uri": "/studies", "Arguments": {}}).json()
    assert len(found) == len(studies)
    nobody = orthanc.post(f"{peer}/qido", json={"Uri": "/studies", "Arguments": {"PatientID": "nobody"}})
    assert (nobody.status_code, nobody.json()) == (200, [])
    for one in ids:
        orthanc.delete(f"/instances/{one}").raise_for_status()
    resources = [{"Study": study} for study in studies]
    back = orthanc.post(f"{peer}/retrieve", json={"Resources": resources, "Synchronous": True})
    assert back.json()["ReceivedInstancesCount"] == str(len(samples))
    assert orthanc.get("/statistics").json()["CountInstances"] == len(samples)
