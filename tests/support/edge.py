"""The edge of the platform as real processes on loopback, which can be killed and started again one by one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from pydicom import dcmread
from pynetdicom.association import Association

from hulumed_platform.core.settings import RoomSettings
from hulumed_platform.dimse.dialling import DiallingEntity
from hulumed_platform.dimse.settings import DimseSettings
from hulumed_platform.gateway.settings import GatewaySettings
from hulumed_platform.worker.settings import WorkerSettings
from tests.gateway.dicom import CONTENT_TYPE, multipart
from tests.support.dimse import CALLED, CALLING, LOOPBACK, peer
from tests.support.processes import free_ports, running
from tests.support.study_desk import wait_until

START_S = 60


@dataclass
class Room:
    """One room; `start` gives it the same ports each time."""

    name: str
    settings: RoomSettings
    probe_url: str
    """Answers 200 once the room can work."""
    folder: Path
    _stack: ExitStack = field(default_factory=ExitStack)
    _process: subprocess.Popen[bytes] | None = None
    _starts: int = 0

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        self._starts += 1
        log = self.folder / f"{self.name}-{self._starts}.log"
        command = [sys.executable, "-m", f"hulumed_platform.{self.name}"]
        environment = {**os.environ, **self.settings.as_environment()}
        self._process = self._stack.enter_context(running(command, log=log, environment=environment))

    def kill(self) -> None:
        """End the process as a power cut does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def is_ready(self) -> bool:
        """Whether its probe says so."""
        assert self._process is not None
        assert self._process.poll() is None, self.logged()[-4000:]
        try:
            return httpx.get(self.probe_url, timeout=10).is_success
        except httpx.HTTPError:
            return False  # it does not listen yet

    def wait(self) -> None:
        """Wait until the room is ready."""
        wait_until(self.is_ready, f"{self.name} is ready", timeout_s=START_S)

    def stop(self) -> None:
        """End the process as an orchestrator does."""
        self._stack.close()

    def logged(self) -> str:
        """What all of its processes logged."""
        return "".join(log.read_text() for log in sorted(self.folder.glob(f"{self.name}-*.log")))


@dataclass(frozen=True)
class Edge:
    """Running rooms by name, and the addresses of their doors."""

    rooms: Mapping[str, Room]
    url: str
    dicom_port: int

    def stow(self, *instances: bytes) -> httpx.Response:
        """Send instances by STOW-RS, on a connection of their own."""
        address = f"{self.url}/dicom-web/studies"
        return httpx.post(address, content=multipart(*instances), headers={"Content-Type": CONTENT_TYPE}, timeout=60)

    def c_store(self, *instances: bytes) -> list[int | None]:
        """Send instances by C-STORE on one association; the status of each, None where there was no answer."""
        with _associated(self.dicom_port, instances) as association:
            return [_status(association, number, one) for number, one in enumerate(instances, start=1)]

    def state(self, study: str) -> dict[str, Any]:
        """The study as the gateway tells of it."""
        answer: dict[str, Any] = httpx.get(f"{self.url}/studies/{study}", timeout=30).raise_for_status().json()
        return answer


@contextmanager
def open_edge(
    folder: Path,
    names: Sequence[str] = ("dimse", "gateway", "worker"),
    *,
    stores: Mapping[str, Any],
    decoder_address: str = f"{LOOPBACK}:1",
    worker: Mapping[str, Any] | None = None,
) -> Iterator[Edge]:
    """Run the rooms while the block runs.

    Args:
        folder: for logs, the broker and work in progress.
        names: which rooms.
        stores: settings of the database, which has its schema, and of the objects; and more that all rooms have.
        decoder_address: whom gateway and worker ask.
        worker: settings of the worker.
    """
    dicom, http, *probes = free_ports(4)
    (folder / "peers.json").write_text(json.dumps({"peers": [peer()]}))
    (folder / "scratch").mkdir(exist_ok=True)
    common = {"host": LOOPBACK, "drain_timeout_s": 1.0, **stores}
    asking = {"decoder_address": decoder_address, **common}
    doors = {"scratch_dir": folder / "scratch", "peers_file": folder / "peers.json", "probes_port": probes[0]}
    dimse = DimseSettings(**{**doors, "port": dicom, "max_disk_used": 1.0, **common})
    gateway = GatewaySettings(**{"scratch_dir": folder / "scratch", "port": http, **asking})
    working = WorkerSettings(
        **{"port": probes[1], "broker_url": f"filesystem://{folder / 'broker'}", **asking, **(worker or {})}
    )
    every = {
        "dimse": Room("dimse", dimse, f"http://{LOOPBACK}:{probes[0]}/readyz", folder),
        # not /readyz: it asks for a decoder that is a whole room
        "gateway": Room("gateway", gateway, f"http://{LOOPBACK}:{http}/healthz", folder),
        "worker": Room("worker", working, f"http://{LOOPBACK}:{probes[1]}/readyz", folder),
    }
    rooms = {name: every[name] for name in names}
    with ExitStack() as stack:
        for room in rooms.values():
            stack.callback(room.stop)
            room.start()
        for room in rooms.values():
            room.wait()
        yield Edge(rooms, f"http://{LOOPBACK}:{http}", dicom)


@contextmanager
def _associated(port: int, instances: Sequence[bytes]) -> Iterator[Association]:
    ae = DiallingEntity(CALLING)  # as pynetdicom, without the sockets that it leaves open where a room is away
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 30
    for contents in instances:
        meta = dcmread(BytesIO(contents), specific_tags=[], stop_before_pixels=True).file_meta
        if not any(context.abstract_syntax == meta.MediaStorageSOPClassUID for context in ae.requested_contexts):
            ae.add_requested_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
    association = ae.associate(LOOPBACK, port, ae_title=CALLED)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _status(association: Association, number: int, contents: bytes) -> int | None:
    if not association.is_established:
        return None
    try:
        status: int | None = association.send_c_store(dcmread(BytesIO(contents)), msg_id=number).get("Status")
    except RuntimeError:  # it broke a moment ago
        return None
    return status
