"""A real dimse room on loopback, and real peers that speak to it."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hulumed_platform.dimse.listener import Listener
from hulumed_platform.dimse.server import open_room
from hulumed_platform.dimse.settings import DimseSettings
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.local import LocalObjects
from hulumed_platform.storage.models import Instance
from hulumed_platform.storage.studies import Studies

LOOPBACK = "127.0.0.1"
CALLED = "HULUMED"
CALLING = "MODALITY"
EVERYTHING = ("store", "echo", "commit")


@dataclass(frozen=True)
class Archive:
    """A folder with a database, an object store and the peers file of a room."""

    folder: Path
    database: Database
    objects: LocalObjects

    def settings(self, *, peers: Sequence[dict[str, Any]] | None = None, **changes: Any) -> DimseSettings:
        """Quick settings; by default one peer, which may do everything."""
        peers_file = self.folder / "peers.json"
        known = [peer()] if peers is None else peers
        peers_file.write_text(json.dumps({"peers": known}))
        given: dict[str, Any] = {
            "database_url": f"sqlite:///{self.folder / 'platform.sqlite'}",
            "objects_url": (self.folder / "objects").as_uri(),
            "scratch_dir": self.folder / "scratch",
            "peers_file": peers_file,
            "host": LOOPBACK,
            "port": 0,
            "probes_port": 0,
            "max_disk_used": 1.0,
            "drain_timeout_s": 2.0,
            "report_interval_s": 0.1,
            "report_retry_after_s": 0.2,
        }
        return DimseSettings(**(given | changes))

    @contextmanager
    def room(self, **changes: Any) -> Iterator[Listener]:
        """Run the room while the block runs."""
        with open_room(self.settings(**changes)) as listener:
            yield listener

    def instances(self) -> list[Instance]:
        """Every instance that is indexed."""
        with self.database.reading() as session:
            studies = Studies(session)
            return [instance for study in studies.list("default") for instance in studies.instances(study.id)]

    def contents(self) -> dict[str, bytes]:
        """The stored bytes of every instance that is indexed, by SOP Instance UID."""
        return {row.sop_instance_uid: self.objects.read("default", row.digest) for row in self.instances()}


def peer(
    ae_title: str = CALLING,
    *,
    hosts: Sequence[str] = (LOOPBACK,),
    may: Sequence[str] = EVERYTHING,
    **more: Any,
) -> dict[str, Any]:
    """A line of the allow list."""
    return {"ae_title": ae_title, "hosts": list(hosts), "may": list(may), **more}


@contextmanager
def open_archive(folder: Path) -> Iterator[Archive]:
    """An empty archive."""
    (folder / "scratch").mkdir()
    database = Database(f"sqlite:///{folder / 'platform.sqlite'}")
    database.migrate()
    yield Archive(folder, database, LocalObjects(folder / "objects"))
    database.close()


def dcmtk(tool: str, port: int, *arguments: str | Path, called: str = CALLED, calling: str = CALLING) -> str:
    """Run a tool of DCMTK against a room; what it printed. Fails when the tool does, skips where there is none."""
    code, output = try_dcmtk(tool, port, *arguments, called=called, calling=calling)
    assert code == 0, output
    return output


def try_dcmtk(
    tool: str, port: int, *arguments: str | Path, called: str = CALLED, calling: str = CALLING
) -> tuple[int, str]:
    """Run a tool of DCMTK against a room; its exit code and what it printed."""
    binary = shutil.which(tool)
    if binary is None:
        pytest.skip(f"DCMTK ({tool}) is not installed")
    options, files = _parted(arguments)
    command = [binary, "-v", "-aet", calling, "-aec", called, *options, LOOPBACK, str(port), *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def _parted(arguments: Sequence[str | Path]) -> tuple[list[str], list[str]]:
    """DCMTK wants options before the address and files after it; here options are texts and files are paths."""
    options = [argument for argument in arguments if isinstance(argument, str)]
    return options, [str(argument) for argument in arguments if isinstance(argument, Path)]
