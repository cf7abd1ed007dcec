"""The embedded profile: every room on loopback, SQLite, a local folder of objects, a broker without a server.

Rooms know nothing of it: they get settings by their environment as anywhere else. What the user has set there wins.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from hulumed_platform.cli.console import console
from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.plan import Probe, RoomPlan
from hulumed_platform.cli.readiness import grpc_health, http_ready
from hulumed_platform.cli.state import RunningRoom
from hulumed_platform.cli.supervisor import DRAIN_S
from hulumed_platform.compressor.settings import CompressorSettings
from hulumed_platform.core.settings import RoomSettings
from hulumed_platform.decoder.settings import DecoderSettings
from hulumed_platform.dimse.settings import DimseSettings
from hulumed_platform.encoder.settings import EncoderSettings
from hulumed_platform.gateway.settings import GatewaySettings
from hulumed_platform.ingest.settings import IngestSettings
from hulumed_platform.storage.database import Database
from hulumed_platform.worker.settings import WorkerSettings

ROOMS: Mapping[str, type[RoomSettings]] = {
    "ingest": IngestSettings,
    "encoder": EncoderSettings,
    "compressor": CompressorSettings,
    "decoder": DecoderSettings,
    "worker": WorkerSettings,
    "dimse": DimseSettings,
    "gateway": GatewaySettings,
}
"""Every room, those that others ask first."""

GRPC_ROOMS = ("ingest", "encoder", "compressor", "decoder")

_LOOPBACK = "127.0.0.1"
_PORT_OPTIONS = {"gateway": "--http-port", "dimse": "--dicom-port"}
_PEERS = """{"peers": [
  {"ae_title": "*", "hosts": ["127.0.0.0/8", "::1"], "may": ["store", "echo", "commit"]}
]}
"""
"""Any DICOM program on this machine; it is the user's to name others."""
_UNTRAINED_SEED = 0
_QUIET_S = "3"
"""A study is complete sooner here than in a hospital: it is posted in one go, and someone waits at the terminal."""


def chosen_rooms(only: str) -> list[str]:
    """The rooms named by `--only`, or all.

    Raises:
        CliError: A name is no room's.
    """
    names = [name.strip() for name in only.split(",") if name.strip()] or list(ROOMS)
    if unknown := sorted(set(names) - ROOMS.keys()):
        raise CliError(f"no such room: {', '.join(unknown)}; there are {', '.join(ROOMS)}")
    return [room for room in ROOMS if room in names]


def prepare(
    data: Path,
    rooms: Sequence[str],
    *,
    http_port: int,
    dicom_port: int,
    checkpoint: Path | None,
    running: Mapping[str, RunningRoom],
    settings: Mapping[str, str],
) -> list[RoomPlan]:
    """Make what the rooms need in the data folder, and plan them.

    Args:
        data: absolute path of the data folder.
        rooms: names of the rooms to start, in order of `ROOMS`.
        http_port: the gateway's; 0 = any free one.
        dicom_port: the dimse room's; 0 = any free one.
        checkpoint: what to serve; None = an untrained checkpoint, made where there is none yet.
        running: rooms that another supervisor runs on the folder.
        settings: more settings by field name, for every room that has the field.

    Raises:
        CliError: A port is taken, or a room to start asks one that neither starts nor runs.
    """
    ports = _ports([*rooms, "probes"], {"gateway": http_port, "dimse": dicom_port})
    probes_port = ports.pop("probes")
    shared = {**_shared_settings(data, checkpoint or _untrained(data, rooms)), **settings}
    shared |= {f"{room}_address": state.address for room, state in running.items()}
    shared |= {f"{room}_address": _address(room, port) for room, port in ports.items()}
    shared |= {"peers_file": str(_peers(data)), "probes_port": str(probes_port)}
    _migrate(shared["database_url"])
    return [_plan(room, ports[room], shared | {"scratch_dir": _empty_scratch(data, room)}) for room in rooms]


def probe(room: str, address: str) -> Probe:
    """How to ask a room whether it is ready."""
    return grpc_health(address) if room in GRPC_ROOMS else http_ready(f"http://{address}/readyz")


def _shared_settings(data: Path, checkpoint: Path) -> dict[str, str]:
    """Settings of the profile by field name; a room takes those that it has."""
    threads = max(1, (os.cpu_count() or 1) // 2)  # encoder and decoder work at the same time
    return {
        "host": _LOOPBACK,
        "drain_timeout_s": str(0.8 * DRAIN_S),
        "checkpoint_dir": str(checkpoint.absolute()),
        "num_threads": str(threads),
        "objects_url": (data / "objects").as_uri(),
        "database_url": f"sqlite:///{data / 'hulumed.sqlite'}",
        "broker_url": f"filesystem://{data / 'broker'}",
        "quiet_s": _QUIET_S,
    }


def _plan(room: str, port: int, shared: Mapping[str, str]) -> RoomPlan:
    prefix = ROOMS[room].model_config["env_prefix"]
    values = {**shared, "port": str(port)}
    profile = {_variable(prefix, name): values[name] for name in ROOMS[room].model_fields if name in values}
    environment = {name: os.environ.get(name, value) for name, value in profile.items()}
    for asked in ROOMS:
        variable, field = _variable(prefix, f"{asked}_address"), ROOMS[room].model_fields.get(f"{asked}_address")
        if field is not None and field.is_required() and variable not in {**os.environ, **environment}:
            raise CliError(f"{room} asks {asked}, which does not run; start it too, or say by {variable} where it is")
    address, probed = _address(room, port), _address(room, port)
    if "probes_port" in ROOMS[room].model_fields:
        probed = f"{_LOOPBACK}:{environment[_variable(prefix, 'probes_port')]}"
    return RoomPlan(room, f"hulumed_platform.{room}", address, probed, environment, probe(room, probed))


def _address(room: str, port: int) -> str:
    return f"{_LOOPBACK}:{os.environ.get(_variable(ROOMS[room].model_config['env_prefix'], 'port'), port)}"


def _variable(prefix: str, field: str) -> str:
    return f"{prefix}{field}".upper()


def _ports(names: Sequence[str], chosen: Mapping[str, int]) -> dict[str, int]:
    """The chosen port, or a free one, for every name; all are held until the last is found: no two are the same."""
    with ExitStack() as held:
        sockets = {name: held.enter_context(_listen(name, chosen.get(name, 0))) for name in names}
        return {name: server.getsockname()[1] for name, server in sockets.items()}


def _listen(name: str, port: int) -> socket.socket:
    try:
        return socket.create_server((_LOOPBACK, port))
    except OSError as error:
        raise CliError(f"port {port} is taken ({error.strerror}); choose another with {_PORT_OPTIONS[name]}") from error


def _untrained(data: Path, rooms: Sequence[str]) -> Path:
    """The data folder's own checkpoint, made by a process of its own: the supervisor stays without torch."""
    checkpoint = data / "checkpoint"
    if checkpoint.exists() or not {"encoder", "compressor", "decoder"} & set(rooms):
        return checkpoint
    console.print(
        "No --checkpoint is given: making a small one with random weights, labelled untrained …", soft_wrap=True
    )
    draft = data / "checkpoint.new"
    shutil.rmtree(draft, ignore_errors=True)
    command = [sys.executable, "-m", "hulumed_platform.cli", "model", "untrained", str(draft)]
    made = subprocess.run([*command, "--seed", str(_UNTRAINED_SEED)], capture_output=True, text=True, check=False)  # noqa: S603
    if made.returncode:
        raise CliError(f"the untrained checkpoint could not be made: {made.stderr.strip()}")
    draft.rename(checkpoint)
    return checkpoint


def _empty_scratch(data: Path, room: str) -> str:
    """A room's folder for work in progress, without what a killed one left there."""
    scratch = data / "scratch" / room
    if "scratch_dir" not in ROOMS[room].model_fields:
        return str(scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return str(scratch)


def _peers(data: Path) -> Path:
    """The data folder's allow list of the dimse room, made where there is none yet."""
    peers = data / "peers.json"
    if not peers.exists():
        peers.write_text(_PEERS)
    return peers


def _migrate(database_url: str) -> None:
    database = Database(database_url)
    try:
        database.migrate()
    finally:
        database.close()
