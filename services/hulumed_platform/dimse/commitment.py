"""Storage commitment, push model (PS3.4, annex J): taking requests, which are kept until they are reported."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pydicom import Dataset
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION
from pynetdicom.events import Event
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]  # made when imported

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.dimse import metrics
from hulumed_platform.dimse.admission import about
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.pending_reports import PendingReports
from hulumed_platform.storage.records import check_uid

log = logging.getLogger(__name__)

PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
"""The one well-known instance of the push model (PS3.6, annex A)."""
_REQUEST = 1
_ASKING_ASSOCIATION_S = 10.0
"""For so long, only the association that asked may bring the report; then any may."""

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
INVALID_ARGUMENT = 0x0115
NO_SUCH_ACTION = 0x0123
NOT_AUTHORISED = 0x0124
RESOURCE_LIMITATION = 0x0213


class CommitmentDesk:
    """Takes requests for commitment.

    Args:
        database: where they are kept.
        tenant: whose instances are meant.
        report_soon: called with the association, the id of a request that is kept, and when others may report it.
    """

    def __init__(
        self, database: Database, tenant: str, report_soon: Callable[[Association, str, datetime], None]
    ) -> None:
        self._database = database
        self._tenant = tenant
        self._report_soon = report_soon

    def on_n_action(self, event: Event) -> tuple[int, None]:
        """Answer an N-ACTION; success means that a report will follow, even if this process ends."""
        try:
            status = self._take(event)
        except PlatformError as error:
            log.warning(
                "commitment not taken: %s", error.message, extra={**about(event.assoc), "code": error.code.value}
            )
            status = RESOURCE_LIMITATION if error.code is ErrorCode.UNAVAILABLE else INVALID_ARGUMENT
        except Exception:  # the outermost loop of a request: a fault of ours must not end the association
            log.exception("commitment broke the room", extra=about(event.assoc))
            status = PROCESSING_FAILURE
        metrics.COMMITMENTS.labels("taken" if status == SUCCESS else "refused").inc()
        return status, None

    def _take(self, event: Event) -> int:
        request = event.request
        assert isinstance(request, N_ACTION), "pynetdicom gives each event its own request"
        if event.context.abstract_syntax != StorageCommitmentPushModel:  # pynetdicom lets it pass, whatever was agreed
            return NOT_AUTHORISED
        if request.RequestedSOPInstanceUID != PUSH_MODEL_INSTANCE:
            return NO_SUCH_INSTANCE
        if event.action_type != _REQUEST:
            return NO_SUCH_ACTION
        transaction_uid, references = _read(event)
        now = datetime.now(UTC)
        due_at = now + timedelta(seconds=_ASKING_ASSOCIATION_S)
        peer = about(event.assoc)["ae_title"]
        with self._database.session() as session:
            pending = PendingReports(session, self._tenant)
            commitment_id = pending.add(peer, transaction_uid, references, now, due_at=due_at)
        self._report_soon(event.assoc, commitment_id, due_at)
        return SUCCESS


def _read(event: Event) -> tuple[str, list[tuple[str, str]]]:
    """The transaction and what it asks about.

    Raises:
        PlatformError: INVALID_INPUT for a request that cannot be read, or that asks about nothing.
    """
    try:
        information = event.action_information
        transaction_uid = str(information.TransactionUID).rstrip("\0 ")
        references = [_reference(item) for item in information.ReferencedSOPSequence]
    except Exception:  # noqa: BLE001  the parser of hostile bytes raises nearly anything
        raise PlatformError(
            ErrorCode.INVALID_INPUT, "The action information lacks what PS3.4, J.3.2 asks for."
        ) from None
    check_uid(transaction_uid, "Transaction UID")
    if not references:
        raise PlatformError(ErrorCode.INVALID_INPUT, "The request refers to no instance.")
    return transaction_uid, references


def _reference(item: Dataset) -> tuple[str, str]:
    """One that lacks a UID is kept: it gets its own failure in the report."""
    sop_class_uid, sop_instance_uid = (
        str(item.get(name) or "").replace("\0", "").rstrip()
        for name in ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID")
    )
    return sop_class_uid, sop_instance_uid
