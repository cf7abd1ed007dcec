"""A real dimse room on loopback, and real peers that speak to it."""

import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made when imported

from hulumed_platform.dimse.listener import Listener
from hulumed_platform.dimse.server import open_room
from hulumed_platform.dimse.settings import DimseSettings
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.local import LocalObjects
from hulumed_platform.storage.models import Instance
from hulumed_platform.storage.studies import Studies

STUDY = "1.2.826.0.1.3680043.8.498.1"
LOOPBACK = "127.0.0.1"
CALLED = "HULUMED"
CALLING = "MODALITY"
_DEFLATED = ("1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
"""JPIP Referenced Deflate and its HTJ2K twin, which pydicom does not deflate by itself."""
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


@contextmanager
def associated(
    port: int,
    contexts: Sequence[tuple[str, Sequence[str]]] = ((Verification, [ImplicitVRLittleEndian]),),
    *,
    called: str = CALLED,
    calling: str = CALLING,
    **options: Any,
) -> Iterator[Association]:
    """An association with a room, established or not; contexts are (abstract syntax, transfer syntaxes)."""
    ae = AE(calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    for abstract_syntax, transfer_syntaxes in contexts:
        ae.add_requested_context(abstract_syntax, list(transfer_syntaxes))
    association = ae.associate(LOOPBACK, port, ae_title=called, **options)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def send(association: Association, contents: bytes, *, message_id: int = 1) -> int:
    """Send a DICOM file as it is, without decoding its data set; return the status of C-STORE."""
    file = BytesIO(contents)
    meta = dcmread(file, stop_before_pixels=True, specific_tags=[]).file_meta
    syntax = meta.TransferSyntaxUID
    context = next(
        item
        for item in association.accepted_contexts
        if item.abstract_syntax == meta.MediaStorageSOPClassUID and item.transfer_syntax[0] == syntax
    )
    request = C_STORE()
    request.MessageID = message_id
    request.AffectedSOPClassUID = meta.MediaStorageSOPClassUID
    request.AffectedSOPInstanceUID = meta.MediaStorageSOPInstanceUID
    request.Priority = 2
    request.DataSet = BytesIO(data_set(contents))
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, context.context_id or 0)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    assert isinstance(answer, C_STORE), "the room gave no answer"
    assert answer.Status is not None
    return answer.Status


def data_set(contents: bytes) -> bytes:
    """What follows the file meta information of a DICOM file: the bytes that C-STORE sends."""
    (length,) = struct.unpack("<I", contents[140:144])  # (0002,0000) UL 4
    return contents[144 + length :]


def encoded(syntax: str, *, sop_class: str = CTImageStorage, uid: str | None = None, size_bytes: int = 512) -> bytes:
    """An instance that claims a transfer syntax; its compressed pixels are no picture, which is nobody's business."""
    transfer_syntax = UID(syntax)
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = uid or generate_uid()
    dataset.StudyInstanceUID = STUDY
    dataset.SeriesInstanceUID = f"{STUDY}.1"
    dataset.PatientName = "DOE^JANE"
    dataset.Modality = "CT"
    dataset.Rows = dataset.Columns = 16
    dataset.BitsAllocated = 16
    dataset.SamplesPerPixel = 1
    pixels = bytes(range(256)) * (size_bytes // 256)
    dataset.PixelData = encapsulate([pixels]) if transfer_syntax.is_encapsulated else pixels
    dataset["PixelData"].VR = "OB" if transfer_syntax.is_encapsulated else "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True, **_encoding(transfer_syntax))
    contents = file.getvalue()
    if syntax not in _DEFLATED:
        return contents
    body = data_set(contents)
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return contents[: -len(body)] + deflate.compress(body) + deflate.flush()


def _encoding(syntax: UID) -> dict[str, Any]:
    """What pydicom must be told of syntaxes it does not know."""
    known = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"}
    return {} if syntax in known else {"implicit_vr": False, "little_endian": True}
