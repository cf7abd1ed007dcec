"""C-STORE (PS3.4, annex B): the bytes as they came go to the archive, and the peer hears what became of them."""

import logging
import time

from pydicom import Dataset
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event

from hulumed_platform.archive.intake import FailureReason, Intake, Named
from hulumed_platform.core.errors import ErrorCode, PlatformError, internal_error
from hulumed_platform.dimse import metrics
from hulumed_platform.dimse.admission import about
from hulumed_platform.dimse.disk import Disks
from hulumed_platform.dimse.receiving import ReceivedInstance
from hulumed_platform.storage.records import Source

log = logging.getLogger(__name__)

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
SOP_CLASS_NOT_SUPPORTED = 0x0122
_FULL = "No room for the instance here; send it again later."
_COMMENTS = {
    FailureReason.DUPLICATE: "Another instance is stored under this SOP Instance UID.",
    FailureReason.CLASS_NOT_SUPPORTED: "The SOP class is not one of storage.",
    FailureReason.SYNTAX_NOT_SUPPORTED: "The transfer syntax is no transfer syntax.",
    FailureReason.OUT_OF_RESOURCES: "Larger than an instance may be here.",
    FailureReason.WRONG_CLASS: "The data set has other SOP UIDs than the request.",
    FailureReason.CANNOT_UNDERSTAND: "The data set is malformed, or lacks a UID.",
}
"""Error Comment (0000,0902): 64 characters at most, no patient data."""


class Storer:
    """Stores instances; many associations may call it at once.

    What we asked a peer to move here, under our own AE title, are priors: they start no work of their own.
    """

    def __init__(self, intake: Intake, disks: Disks, ae_title: str) -> None:
        self._intake = intake
        self._disks = disks
        self._ae_title = ae_title

    def on_c_store(self, event: Event) -> Dataset:
        """Answer a C-STORE request; success means that the instance is durable and indexed."""
        started = time.monotonic()
        try:
            status = self._store(event)
        except PlatformError as error:
            log.warning(
                "instance not stored: %s", error.message, extra={**about(event.assoc), "code": error.code.value}
            )
            status = _status(_status_of(error), error.message)
        except Exception:  # the outermost loop of an instance: a fault of ours must not end the association
            hidden = internal_error()
            log.exception("instance broke the room", extra={"correlation_id": hidden.correlation_id})
            status = _status(PROCESSING_FAILURE, f"internal error {hidden.correlation_id}")
        metrics.STORE_SECONDS.observe(time.monotonic() - started)
        metrics.INSTANCES.labels(f"{status.Status:04X}").inc()
        return status

    def _store(self, event: Event) -> Dataset:
        request = event.request
        assert isinstance(request, C_STORE), "pynetdicom gives each event its own request"
        received = request.DataSet
        assert isinstance(received, ReceivedInstance), "our provider spools every data set of a C-STORE"
        if event.context.abstract_syntax != request.AffectedSOPClassUID:  # pynetdicom lets it pass, whatever was agreed
            return _status(SOP_CLASS_NOT_SUPPORTED, "The presentation context is of another SOP class.")
        with received:
            if received.is_refused or self._disks.are_full():
                log.warning("instance refused: no room", extra=about(event.assoc))
                return _status(FailureReason.OUT_OF_RESOURCES, _FULL)
            named = Named(_text(request.AffectedSOPClassUID), _text(request.AffectedSOPInstanceUID))
            source = Source(
                door="dimse",
                calling_ae_title=event.assoc.requestor.ae_title,
                prior=_text(request.MoveOriginatorApplicationEntityTitle).strip() == self._ae_title,
            )
            outcome = self._intake.store(received.file, named=named, source=source)
            if outcome.failure_reason is None:
                metrics.BYTES.inc(received.size_bytes)
                return _status(SUCCESS)
        log.warning("instance refused: %s", outcome.failure_reason.name, extra=about(event.assoc))
        return _status(outcome.failure_reason, _COMMENTS[outcome.failure_reason])


def _text(uid: object) -> str:
    return str(uid or "").rstrip("\0 ")


def _status_of(error: PlatformError) -> int:
    """Out of resources (A7xx) tells the sender to keep the instance and send it again."""
    return FailureReason.OUT_OF_RESOURCES if error.code is ErrorCode.UNAVAILABLE else PROCESSING_FAILURE


def _status(code: int, comment: str = "") -> Dataset:
    status = Dataset()
    status.Status = int(code)
    if comment:
        status.ErrorComment = comment[:64]
    return status
