"""A real PACS on loopback: Orthanc, with DICOM and DICOMweb, and studies that a test gives it."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from hulumed_platform.archive.rules.schema import DicomwebPeer, DimsePeer, Peer
from tests.support.processes import free_ports, running

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_START_S = 30.0
_CALLING = "HULUMED"


@dataclass(frozen=True)
class Pacs:
    """A running Orthanc."""

    http_port: int
    dicom_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def give(self, *instances: bytes) -> None:
        """Store DICOM files in it."""
        for content in instances:
            httpx.post(f"{self.url}/instances", content=content, trust_env=False).raise_for_status()

    def empty(self) -> None:
        """Forget every study."""
        for study in httpx.get(f"{self.url}/studies", trust_env=False).json():
            httpx.delete(f"{self.url}/studies/{study}", trust_env=False).raise_for_status()

    def peer(self, protocol: str, *, move_to: str | None = None) -> Peer:
        """How a rules file names it."""
        if protocol == "dicomweb":
            return Peer(dicomweb=DicomwebPeer(url=f"{self.url}/dicom-web"))
        dimse = DimsePeer(
            host="127.0.0.1", port=self.dicom_port, ae_title="ORTHANC", calling_ae_title=_CALLING, move_to=move_to
        )
        return Peer(dimse=dimse)


@pytest.fixture(scope="session")
def running_pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    """One for the session."""
    if shutil.which("Orthanc") is None or not _PLUGIN.exists():
        pytest.skip("no Orthanc here: apt-get install --no-install-recommends orthanc orthanc-dicomweb")
    folder = tmp_path_factory.mktemp("pacs")
    made = Pacs(*free_ports(2))
    configuration = folder / "orthanc.json"
    configuration.write_text(json.dumps(_settings(folder, made)))
    with running(["Orthanc", str(configuration)], log=folder / "log") as process:
        deadline = time.monotonic() + _START_S
        while not _answers(made.url):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield made


@pytest.fixture
def pacs(running_pacs: Pacs) -> Pacs:
    """A PACS that is empty."""
    running_pacs.empty()
    return running_pacs


def _settings(folder: Path, made: Pacs) -> dict[str, object]:
    modality = {"AET": _CALLING, "Host": "127.0.0.1", "Port": 4242, "AllowGet": True, "AllowFind": True}
    return {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": made.http_port,
        "DicomPort": made.dicom_port,
        "DicomAet": "ORTHANC",
        "DicomModalities": {"hulumed": modality},
        "DicomAlwaysAllowGet": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(_PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/system", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
