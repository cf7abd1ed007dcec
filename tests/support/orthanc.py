"""A real Orthanc with its DICOMweb plugin, on loopback, with storage of its own."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.processes import free_ports, running

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_START_S = 30.0


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The root of its DICOMweb services."""
    if shutil.which("Orthanc") is None or not _PLUGIN.exists():
        pytest.skip("no Orthanc here: apt-get install --no-install-recommends orthanc orthanc-dicomweb")
    folder = tmp_path_factory.mktemp("orthanc")
    (port,) = free_ports(1)
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(_settings(folder, port)))
    with running(["Orthanc", str(configuration)], log=folder / "log") as process:
        url = f"http://127.0.0.1:{port}/dicom-web"
        deadline = time.monotonic() + _START_S
        while not _answers(url):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield url


def _settings(folder: Path, port: int) -> dict[str, object]:
    return {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(_PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/studies?limit=1").status_code == 200
    except httpx.TransportError:
        return False
