"""A real Orthanc on loopback, as a PACS that sends to us."""

import json
import shutil
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import free_ports, running
from tests.support.study_desk import wait_until


@dataclass(frozen=True)
class Orthanc:
    """A running server: its REST interface, and where it listens for DICOM as `ORTHANC`."""

    url: str
    dicom_port: int

    def post(self, path: str, body: bytes) -> Any:
        """POST to the REST interface; the JSON that it answers."""
        request = urllib.request.Request(f"{self.url}{path}", data=body, method="POST")
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def upload(self, contents: bytes) -> str:
        """Store an instance in Orthanc; its id there."""
        return str(self.post("/instances", contents)["ID"])

    def send(self, modality: str, *ids: str) -> Any:
        """Have Orthanc send instances by C-STORE, and wait until it has."""
        return self.post(f"/modalities/{modality}/store", json.dumps({"Resources": ids, "Synchronous": True}).encode())

    def wait_for_report(self, path: str) -> Any:
        """Wait until Orthanc has the report of a storage commitment that it asked for."""

        def report() -> Any:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as response:
                return json.load(response)

        wait_until(lambda: report()["Status"] != "Pending", "Orthanc has the report")
        return report()

    def is_up(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/system", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False


@contextmanager
def orthanc(folder: Path, modalities: Mapping[str, Any]) -> Iterator[Orthanc]:
    """Run a server with nothing in it; skips where Orthanc is not installed.

    Args:
        folder: for its database and its log.
        modalities: whom it knows: by name, what Orthanc's `DicomModalities` takes.
    """
    binary = shutil.which("Orthanc")
    if binary is None:
        pytest.skip("Orthanc is not installed")
    http_port, dicom_port = free_ports(2)
    config = folder / "orthanc.json"
    settings = {
        "StorageDirectory": str(folder / "orthanc"),
        "IndexDirectory": str(folder / "orthanc"),
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": dict(modalities),
        "Plugins": [],
    }
    config.write_text(json.dumps(settings))
    server = Orthanc(f"http://127.0.0.1:{http_port}", dicom_port)
    with running([binary, str(config)], log=folder / "orthanc.log"):
        wait_until(server.is_up, "Orthanc answers", timeout_s=60)
        yield server
