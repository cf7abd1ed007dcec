"""One instance through the door: header read, bytes stored, row committed, and only then acknowledged."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

from hulumed_platform.archive.header import InstanceHeader, read_header
from hulumed_platform.archive.registrar import Registrar
from hulumed_platform.archive.sameness import have_same_data_set
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.objects import CHUNK_BYTES, ObjectStore
from hulumed_platform.storage.records import InstanceRecord, Registered
from hulumed_platform.storage.studies import Studies

log = logging.getLogger(__name__)


class FailureReason(IntEnum):
    """Failure Reason (0008,1197) of PS3.18, table I.2-2, and status of C-STORE; PS3.7, annex C has the duplicate."""

    DUPLICATE = 0x0111
    """Another instance is stored under this SOP Instance UID; it was left as it is."""
    OUT_OF_RESOURCES = 0xA700
    """Larger than an instance may be here."""
    WRONG_CLASS = 0xA900
    """The data set has another SOP Class or Instance UID than the request that brought it."""
    WRONG_STUDY = 0xA901
    """The instance is not of the study in the address."""
    CANNOT_UNDERSTAND = 0xC000
    """No DICOM file, cut off, a UID missing or malformed, or a part of another media type."""


_REASONS = {
    ErrorCode.INVALID_INPUT: FailureReason.CANNOT_UNDERSTAND,
    ErrorCode.TOO_LARGE: FailureReason.OUT_OF_RESOURCES,
}


@dataclass(frozen=True, slots=True)
class Named:
    """What a C-STORE request says that its data set is; UIDs without padding."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one instance; UIDs are empty where they could not be read."""

    study_instance_uid: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""
    sop_class_uid: str = ""
    failure_reason: FailureReason | None = None


class Intake:
    """The one path by which instances come in, whatever the door.

    Args:
        objects: where their bytes go.
        database: where their rows go.
        tenant: whose they are.
        max_instance_bytes: largest instance, also one that was deflated.
        scratch_dir: folder for what a deflated one unfolds to; None = the system's temporary folder.
    """

    def __init__(
        self,
        objects: ObjectStore,
        database: Database,
        *,
        tenant: str,
        max_instance_bytes: int,
        scratch_dir: Path | None = None,
    ) -> None:
        self._objects = objects
        self._database = database
        self._registrar = Registrar(database)
        self._tenant = tenant
        self._max_instance_bytes = max_instance_bytes
        self._scratch_dir = scratch_dir

    def store(self, file: BinaryIO, *, study: str | None = None, named: Named | None = None) -> Outcome:
        """Store one instance, durably, or say why not.

        Args:
            file: a DICOM file (PS3.10) that can be sought; kept byte for byte.
            study: Study Instance UID that the instance must have; None = any.
            named: SOP Class and Instance UID that it must have; None = any.

        Raises:
            PlatformError: UNAVAILABLE when a store is away or full: the instance is to be sent again.
        """
        size_bytes = file.seek(0, SEEK_END)
        file.seek(0)
        if size_bytes > self._max_instance_bytes:
            return Outcome(failure_reason=FailureReason.OUT_OF_RESOURCES)
        try:
            header = read_header(file, size_bytes, max_bytes=self._max_instance_bytes, scratch=self._scratch_dir)
            record = self._record(header, size_bytes)
        except PlatformError as error:
            if error.code not in _REASONS:
                raise
            log.warning("instance refused: %s", error.message)
            return Outcome(failure_reason=_REASONS[error.code])
        if study not in (None, header.study_instance_uid):
            return _outcome(header, FailureReason.WRONG_STUDY)
        if named not in (None, Named(header.sop_class_uid, header.sop_instance_uid)):
            return _outcome(header, FailureReason.WRONG_CLASS)
        return self._keep(header, record, file)

    def _record(self, header: InstanceHeader, size_bytes: int) -> InstanceRecord:
        """The row to be, its UIDs checked; the digest is known once the bytes are stored."""
        return InstanceRecord(
            tenant=self._tenant,
            study_instance_uid=header.study_instance_uid,
            series_instance_uid=header.series_instance_uid,
            sop_instance_uid=header.sop_instance_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=header.transfer_syntax_uid,
            modality=header.modality,
            attributes=header.attributes,
            digest="",
            size_bytes=size_bytes,
            received_at=datetime.now(UTC),
        )

    def _keep(self, header: InstanceHeader, record: InstanceRecord, file: BinaryIO) -> Outcome:
        file.seek(0)
        stored = self._objects.put(self._tenant, _chunks(file))
        registered = self._registrar.register(replace(record, digest=stored.digest))
        is_duplicate = registered is Registered.CONFLICT and not self._is_stored(record, file)
        return _outcome(header, FailureReason.DUPLICATE if is_duplicate else None)

    def _is_stored(self, record: InstanceRecord, file: BinaryIO) -> bool:
        """Whether the data set is here already, under other file meta information: it came through another door."""
        with self._database.reading() as session:
            known = Studies(session).instance(record.tenant, record.sop_instance_uid)
        if known is None or known.transfer_syntax_uid != record.transfer_syntax_uid:
            return False
        file.seek(0)
        with self._objects.open(record.tenant, known.digest) as stored:
            return have_same_data_set(file, stored)


def _outcome(header: InstanceHeader, failure_reason: FailureReason | None) -> Outcome:
    return Outcome(
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        failure_reason=failure_reason,
    )


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
