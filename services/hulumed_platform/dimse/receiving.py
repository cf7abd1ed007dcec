"""Data sets as they come in: kept byte for byte, on disk where they are large, never decoded.

pynetdicom can write data sets to files itself (`STORE_RECV_CHUNKED_DATASET`), but leaves the file behind when the
association breaks, stops the association when the disk is full, and has no limit. So this one stands in for it.
"""

import logging
import queue
import threading
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import DimsePrimitiveType, DimseServiceType
from pynetdicom.dsutils import create_file_meta
from pynetdicom.pdu_primitives import P_DATA

from hulumed_platform.dimse import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION_NAME
from hulumed_platform.dimse.disk import Disks

log = logging.getLogger(__name__)

_MEMORY_BYTES = 1024 * 1024
"""A larger instance goes to disk while it comes in."""
_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Of a message other than C-STORE: a commitment of 100,000 instances."""
_MAX_COMMAND_BYTES = 64 * 1024
_MAX_WAITING = 2
"""Requests that wait for their turn: no operation is asynchronous here, so a well-behaved peer has one."""
_MOMENT_S = 0.01
"""Instead of asking a thousand times a second; the end of an association is noticed so much later."""

_Item = tuple[None, None] | tuple[int, DimseServiceType]


@dataclass(frozen=True, slots=True)
class Spool:
    """Where instances are while they come in, and how large they may be. `folder` None = the system's own."""

    folder: Path | None
    max_instance_bytes: int
    disks: Disks


class ReceivedInstance(BytesIO):
    """The data set of a C-STORE as a DICOM file (PS3.10): file meta information, then the bytes as they come.

    A `BytesIO` because pynetdicom takes no other; what it holds is in `file`.
    """

    def __init__(self, spool: Spool, meta: bytes) -> None:
        super().__init__()
        self._spool = spool
        self.size_bytes = len(meta)
        folder = None if spool.folder is None else str(spool.folder)
        self._file = SpooledTemporaryFile(max_size=_MEMORY_BYTES, dir=folder)  # noqa: SIM115  closed by `close`
        self._file.write(meta)
        self.is_refused = False
        """Larger than an instance may be, or the disk is full; what came after was let go."""

    @property
    def file(self) -> BinaryIO:
        """The file; complete unless `is_refused`."""
        return cast("BinaryIO", self._file)

    def write(self, data: bytes) -> int:  # type: ignore[override]  # typeshed has a private buffer type
        """Append bytes; refused ones are read to their end like any, as the peer hears of it only there."""
        self.size_bytes += len(data)
        self.is_refused = self.is_refused or not self._has_room()
        if not self.is_refused:
            try:
                self._file.write(data)
            except OSError:
                log.warning("an instance that comes in cannot be written to the scratch folder")
                self.is_refused = True
        return len(data)

    def close(self) -> None:
        """Let the file go; also done when nobody holds the data set any more, as when an association breaks."""
        self._file.close()
        super().close()

    def _has_room(self) -> bool:
        if self.size_bytes > self._spool.max_instance_bytes:
            return False
        return self.size_bytes <= _MEMORY_BYTES or not self._spool.disks.are_full()


class ReceivingProvider(DIMSEServiceProvider):
    """pynetdicom's DIMSE service, with data sets spooled, messages limited and answers kept apart from requests."""

    def __init__(self, association: Association, spool: Spool) -> None:
        super().__init__(association)
        self._spool = spool
        self._sending = threading.Lock()
        self._answers: queue.Queue[_Item] = queue.Queue()
        self.msg_queue = _RequestQueue(self._answers)

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take in what came in one PDU; a message that makes no sense ends the association."""
        for value in primitive.presentation_data_value_list:
            part = P_DATA()
            part.presentation_data_value_list.append(value)
            try:
                super().receive_primitive(part)
                self._prepare_for_more()
            except Exception as error:  # noqa: BLE001  hostile bytes raise nearly anything
                log.warning("message not understood: %s", type(error).__name__)
                self.message = None
                self.dul.event_queue.put("Evt19")  # invalid PDU: abort
                return

    def get_msg(self, block: bool = False) -> _Item:
        """The next request, for which to wait a moment; with `block`, the answer to a request of ours."""
        try:
            return self._answers.get(timeout=self.dimse_timeout) if block else self.msg_queue.get(timeout=_MOMENT_S)
        except queue.Empty:
            return None, None

    def send_msg(self, primitive: DimsePrimitiveType, context_id: int) -> None:
        """Send a message whole, whoever else sends; who has just got an answer from us is not silent."""
        with self._sending:
            super().send_msg(primitive, context_id)
        self.dul._idle_timer.restart()

    def _prepare_for_more(self) -> None:
        message = self.message
        if self.msg_queue.qsize() > _MAX_WAITING:
            raise ValueError("requests that wait for no answer")
        if message is None:
            return
        if message.encoded_command_set.tell() > _MAX_COMMAND_BYTES:
            raise ValueError("a command set longer than any")
        assert message.data_set is not None, "only messages that are sent have none"
        if not isinstance(message, C_STORE_RQ):
            if message.data_set.tell() > _MAX_MESSAGE_BYTES:
                raise ValueError("a message longer than any")
        elif not isinstance(message.data_set, ReceivedInstance):
            message.data_set = ReceivedInstance(self._spool, self._file_meta(message))

    def _file_meta(self, message: DIMSEMessage) -> bytes:
        """Preamble, prefix and file meta information. The same for every sending of an instance, now and later."""
        (context,) = (item for item in self.assoc.accepted_contexts if item.context_id == message.context_id)
        meta = create_file_meta(
            sop_class_uid=message.command_set.AffectedSOPClassUID,
            sop_instance_uid=message.command_set.AffectedSOPInstanceUID,
            transfer_syntax=context.transfer_syntax[0],
            implementation_uid=IMPLEMENTATION_UID,
            implementation_version=IMPLEMENTATION_VERSION_NAME,
        )
        file = DicomBytesIO()
        write_file_meta_info(file, meta)
        return bytes(128) + b"DICM" + file.getvalue()


class _RequestQueue(queue.Queue[_Item]):
    """Requests of the peer. Answers to ours go to a queue of their own, so that neither is taken for the other."""

    def __init__(self, answers: queue.Queue[_Item]) -> None:
        super().__init__()
        self._answers = answers

    def put(self, item: _Item, block: bool = True, timeout: float | None = None) -> None:
        message = item[1]
        if message is None:  # the association has ended
            self._answers.put(item)
        if message is not None and message.MessageIDBeingRespondedTo is not None:
            self._answers.put(item)
        else:
            super().put(item, block, timeout)
