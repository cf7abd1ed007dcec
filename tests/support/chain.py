"""The four rooms of the chain on loopback: in this process on threads, or as processes of their own.

`chain` and `process_chain` start once a session. Tests that fill, break or stop rooms open their own by
`chain_in_process` or `chain_of_processes`.
"""

import importlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import grpc
import pytest

from hulumed_platform.compressor.settings import CompressorSettings
from hulumed_platform.core.errors import PlatformError
from hulumed_platform.core.settings import GrpcRoomSettings
from hulumed_platform.decoder.settings import DecoderSettings
from hulumed_platform.encoder.settings import EncoderSettings
from hulumed_platform.ingest.settings import IngestSettings
from hulumed_platform.rpc.clients import DecoderClient, RoomClient, StageClient, open_channel
from hulumed_platform.rpc.room import Room
from hulumed_platform.rpc.v1 import media_pb2
from hulumed_platform.storage.local import LocalObjects
from tests.support.collector import Collector
from tests.support.processes import free_ports, running

ROOMS = ("ingest", "encoder", "compressor", "decoder")
TENANT = "default"
_START_TIMEOUT_S = 60

Overrides = Mapping[str, Mapping[str, Any]]
"""Settings by room, on top of those that hold for every test."""


@dataclass(frozen=True)
class Chain:
    """Four running rooms, their object store, and a channel to each."""

    addresses: Mapping[str, str]
    objects_dir: Path
    checkpoint_dir: Path
    channels: Mapping[str, grpc.Channel]
    processes: Mapping[str, Popen[bytes]] = field(default_factory=dict)
    """Empty for rooms on threads."""
    logs: Mapping[str, Path] = field(default_factory=dict)

    @property
    def objects(self) -> LocalObjects:
        """Where the rooms find their media."""
        return LocalObjects(self.objects_dir)

    @property
    def decoder(self) -> DecoderClient:
        """Client of the chain's end."""
        return DecoderClient(self.channels["decoder"])

    def stage(self, room: str) -> StageClient:
        """Client of one of the stages before."""
        return StageClient(self.channels[room], room)

    def store(self, *files: Path | bytes) -> list[media_pb2.ObjectRef]:
        """Put files into the object store and refer to them."""
        contents = [file if isinstance(file, bytes) else file.read_bytes() for file in files]
        stored = [self.objects.put(TENANT, [content]) for content in contents]
        return [
            media_pb2.ObjectRef(digest=one.digest, size_bytes=one.size_bytes, label=f"file {index} of {len(stored)}")
            for index, one in enumerate(stored, start=1)
        ]


@pytest.fixture(scope="session")
def chain(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Rooms on threads of this process."""
    with chain_in_process(checkpoint_dir, tmp_path_factory.mktemp("chain")) as started:
        yield started


@pytest.fixture(scope="session")
def process_chain(
    checkpoint_dir: Path, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Chain]:
    """Rooms as processes of their own, whose spans go to `collector`."""
    overrides = {room: {"otlp_endpoint": collector.endpoint} for room in ROOMS}
    with chain_of_processes(checkpoint_dir, tmp_path_factory.mktemp("process-chain"), overrides) as started:
        yield started


@contextmanager
def chain_in_process(checkpoint_dir: Path, folder: Path, overrides: Overrides | None = None) -> Iterator[Chain]:
    """Start the rooms on threads; they are loaded and serving when the block begins."""
    addresses = _addresses()
    settings = _settings(addresses, checkpoint_dir, folder, overrides or {})
    with ExitStack() as stack:
        for name in ROOMS:
            room = stack.enter_context(_open_room(name, settings[name]))
            stack.callback(room.server.stop, 1.0)
            room.server.start()
            room.server.ready(room.load())
        channels = {name: stack.enter_context(open_channel(address)) for name, address in addresses.items()}
        yield Chain(addresses, folder / "objects", checkpoint_dir, channels)


@contextmanager
def chain_of_processes(checkpoint_dir: Path, folder: Path, overrides: Overrides | None = None) -> Iterator[Chain]:
    """Start the rooms as `python -m` does; all are ready when the block begins."""
    addresses = _addresses()
    settings = _settings(addresses, checkpoint_dir, folder, overrides or {})
    logs = {name: folder / f"{name}.log" for name in ROOMS}
    with ExitStack() as stack:
        processes = {name: stack.enter_context(running_room(name, settings[name], logs[name])) for name in ROOMS}
        channels = {name: stack.enter_context(open_channel(address)) for name, address in addresses.items()}
        for name in ROOMS:
            wait_until_ready(name, channels[name], processes[name], logs[name])
        yield Chain(addresses, folder / "objects", checkpoint_dir, channels, processes, logs)


@contextmanager
def running_room(name: str, settings: GrpcRoomSettings, log: Path) -> Iterator[Popen[bytes]]:
    """One room as a process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **settings.as_environment()}
    command = [sys.executable, "-m", f"hulumed_platform.{name}"]
    with running(command, log=log, environment=environment) as process:
        yield process


def _open_room(name: str, settings: GrpcRoomSettings) -> AbstractContextManager[Room]:
    # Imported only now: torch takes seconds, and this module is loaded for every test.
    server = importlib.import_module(f"hulumed_platform.{name}.server")
    opened: AbstractContextManager[Room] = server.open_room(settings)
    return opened


def _addresses() -> dict[str, str]:
    return {name: f"127.0.0.1:{port}" for name, port in zip(ROOMS, free_ports(len(ROOMS)), strict=True)}


def _settings(
    addresses: Mapping[str, str], checkpoint_dir: Path, folder: Path, overrides: Overrides
) -> dict[str, GrpcRoomSettings]:
    def common(room: str) -> dict[str, Any]:
        port = int(addresses[room].rpartition(":")[2])
        return {"host": "127.0.0.1", "port": port, "drain_timeout_s": 10.0}

    def model(room: str) -> dict[str, Any]:
        return {**common(room), "checkpoint_dir": checkpoint_dir, "device": "cpu", "num_threads": 1}

    objects_url = (folder / "objects").as_uri()
    given: dict[str, dict[str, Any]] = {
        "ingest": {**common("ingest"), "objects_url": objects_url, "scratch_dir": _made(folder / "scratch")},
        "encoder": {**model("encoder"), "ingest_address": addresses["ingest"]},
        "compressor": {**model("compressor"), "encoder_address": addresses["encoder"]},
        "decoder": {**model("decoder"), "compressor_address": addresses["compressor"]},
    }
    for room, values in overrides.items():
        given[room].update(values)
    return {
        "ingest": IngestSettings(**given["ingest"]),
        "encoder": EncoderSettings(**given["encoder"]),
        "compressor": CompressorSettings(**given["compressor"]),
        "decoder": DecoderSettings(**given["decoder"]),
    }


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def wait_until_ready(name: str, channel: grpc.Channel, process: Popen[bytes], log: Path) -> None:
    """Wait until the room serves; show its log where it ends before that."""
    client = RoomClient(channel, name)
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the {name} room did not start: {log.read_text()[-4000:]}")
        try:
            if client.describe(timeout_s=2).ready:
                return
        except PlatformError:
            pass  # it does not listen yet
        time.sleep(0.1)
