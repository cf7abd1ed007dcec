"""Instances through the door: header read, bytes stored, row committed, and only then acknowledged."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import UID

from hulumed_platform.archive.duplicates import same_data_set
from hulumed_platform.archive.header import InstanceHeader, read_header
from hulumed_platform.archive.registration import Registration
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.objects import CHUNK_BYTES, ObjectStore
from hulumed_platform.storage.records import DicomAttributes, InstanceRecord, Registered, Source
from hulumed_platform.storage.retention import require_kept

log = logging.getLogger(__name__)


class FailureReason(IntEnum):
    """Failure Reason (0008,1197) of PS3.18, table I.2-2, and status of C-STORE; PS3.7, annex C has the duplicate."""

    DUPLICATE = 0x0111
    """Another instance is stored under this SOP Instance UID; it was left as it is."""
    CLASS_NOT_SUPPORTED = 0x0122
    """Its SOP Class is one of the standard and not one of storage."""
    OUT_OF_RESOURCES = 0xA700
    """Larger than an instance may be here."""
    WRONG_CLASS = 0xA900
    """The data set has another SOP Class or Instance UID than the request that brought it."""
    WRONG_STUDY = 0xA901
    """The instance is not of the study in the address."""
    CANNOT_UNDERSTAND = 0xC000
    """No DICOM file, cut off, a UID missing or malformed, or a part of another media type."""
    SYNTAX_NOT_SUPPORTED = 0xC122
    """What stands for its transfer syntax is a UID of the standard for something else."""


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


@dataclass(frozen=True, slots=True)
class Received:
    """An instance whose bytes are durable and that has no row yet; or one that was refused, without a record."""

    outcome: Outcome
    record: InstanceRecord | None = None


class Intake:
    """The one path by which instances come in, whatever the door.

    Args:
        objects: where their bytes go.
        registration: what makes their rows; one for all intakes of a process.
        tenant: whose they are.
        max_instance_bytes: largest instance, also one that was deflated.
        scratch_dir: folder for what a deflated one unfolds to; None = the system's temporary folder.
    """

    def __init__(
        self,
        objects: ObjectStore,
        registration: Registration,
        *,
        tenant: str,
        max_instance_bytes: int,
        scratch_dir: Path | None = None,
    ) -> None:
        self._objects = objects
        self._registration = registration
        self._tenant = tenant
        self._max_instance_bytes = max_instance_bytes
        self._scratch_dir = scratch_dir
        self._last = DicomAttributes()

    def store(
        self, file: BinaryIO, *, study: str | None = None, named: Named | None = None, source: Source | None = None
    ) -> Outcome:
        """Store one instance, durably, or say why not: `receive` and `register` in one."""
        return self.register([self.receive(file, study=study, named=named, source=source)])[0]

    def receive(
        self, file: BinaryIO, *, study: str | None = None, named: Named | None = None, source: Source | None = None
    ) -> Received:
        """Check one instance and store its bytes. It is not acknowledged before `register`.

        Args:
            file: a DICOM file (PS3.10) that can be sought; kept byte for byte.
            study: Study Instance UID that the instance must have; None = any.
            named: SOP Class and Instance UID that it must have; None = any.
            source: how it came in, for rules to ask; None = not known.

        Raises:
            PlatformError: UNAVAILABLE when a store is away or full: the instance is to be sent again.
        """
        size_bytes = file.seek(0, SEEK_END)
        file.seek(0)
        if size_bytes > self._max_instance_bytes:
            return Received(Outcome(failure_reason=FailureReason.OUT_OF_RESOURCES))
        try:
            header = read_header(file, size_bytes, max_bytes=self._max_instance_bytes, scratch=self._scratch_dir)
            record = self._record(header, size_bytes, source or Source())
        except PlatformError as error:
            if error.code not in _REASONS:
                raise
            log.warning("instance refused: %s", error.message)
            return Received(Outcome(failure_reason=_REASONS[error.code]))
        refusal = _refusal(header, study, named)
        if refusal is not None:
            return Received(_outcome(header, refusal))
        file.seek(0)
        stored = self._objects.put(self._tenant, _chunks(file))
        return Received(_outcome(header, None), replace(record, digest=stored.digest))

    def register(self, received: Sequence[Received]) -> list[Outcome]:
        """Make the rows of what was received; an outcome for each. What has no failure reason is durable then.

        Raises:
            PlatformError: UNAVAILABLE when the database is away, or when bytes waited so long for their row that they
                were let go as an orphan's: all are to be sent again.
        """
        records = [one.record for one in received if one.record is not None]
        registered = iter(zip(records, self._registration.register(records), strict=True))
        require_kept(self._objects, self._tenant, (record.digest for record in records))
        return [
            one.outcome if one.record is None else self._settled(one.outcome, *next(registered)) for one in received
        ]

    def _settled(self, outcome: Outcome, record: InstanceRecord, registered: Registered) -> Outcome:
        if registered is not Registered.CONFLICT or same_data_set(self._objects, self._registration.database, record):
            return outcome
        return replace(outcome, failure_reason=FailureReason.DUPLICATE)

    def _record(self, header: InstanceHeader, size_bytes: int, source: Source) -> InstanceRecord:
        """The row to be, its UIDs checked; the digest is known once the bytes are stored."""
        return InstanceRecord(
            tenant=self._tenant,
            study_instance_uid=header.study_instance_uid,
            series_instance_uid=header.series_instance_uid,
            sop_instance_uid=header.sop_instance_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=header.transfer_syntax_uid,
            modality=header.modality,
            attributes=self._shared(header.attributes),
            digest="",
            size_bytes=size_bytes,
            received_at=datetime.now(UTC),
            source=source,
        )

    def _shared(self, attributes: DicomAttributes) -> DicomAttributes:
        """The same attributes, of study and series in the memory of the last instance's: a series has thousands."""
        last = self._last
        shared = DicomAttributes(
            last.study if last.study == attributes.study else attributes.study,
            last.series if last.series == attributes.series else attributes.series,
            attributes.instance,
        )
        self._last = shared  # another thread may be about to set its own: what is returned is not read from here
        return shared


def _refusal(header: InstanceHeader, study: str | None, named: Named | None) -> FailureReason | None:
    """Why an instance that can be read is not wanted. Private and future UIDs are: nothing is known against them."""
    if study not in (None, header.study_instance_uid):
        return FailureReason.WRONG_STUDY
    if named not in (None, Named(header.sop_class_uid, header.sop_instance_uid)):
        return FailureReason.WRONG_CLASS
    sop_class, syntax = UID(header.sop_class_uid), UID(header.transfer_syntax_uid)
    if sop_class.type and not (sop_class.type == "SOP Class" and "Storage" in (sop_class.name or "Storage")):
        return FailureReason.CLASS_NOT_SUPPORTED
    if syntax.type and syntax.type != "Transfer Syntax":
        return FailureReason.SYNTAX_NOT_SUPPORTED
    return None


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
