"""Who gets an association, and for what: the allow list applied to a request (PS3.8, section 9.3.4)."""

import logging
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.events import Event, EventHandlerType

from hulumed_platform.dimse import metrics
from hulumed_platform.dimse.contexts import supported
from hulumed_platform.dimse.peers import Peers

log = logging.getLogger(__name__)


class Rejection(Enum):
    """Result, source and reason of an A-ASSOCIATE-RJ (PS3.8, table 9-21)."""

    UNKNOWN_CALLING_AE_TITLE = (1, 1, 3)
    """Also of a known title from another host: whoever guesses titles learns nothing."""
    UNKNOWN_CALLED_AE_TITLE = (1, 1, 7)
    NO_REASON_GIVEN = (2, 1, 1)
    TEMPORARY_CONGESTION = (2, 3, 1)


class Admission:
    """Looks at every request for an association. How many there may be is pynetdicom's to check."""

    def __init__(self, peers: Peers, *, ae_title: str, private_classes: bool) -> None:
        self._peers = peers
        self._ae_title = ae_title
        self._private_classes = private_classes
        self._closed = False

    def close(self) -> None:
        """Let no one in any more."""
        self._closed = True

    def handlers(self) -> list[EventHandlerType]:
        """Handlers of pynetdicom's events: one decides, the others count."""
        counted = {
            evt.EVT_ESTABLISHED: "accepted",
            evt.EVT_RELEASED: "released",
            evt.EVT_ABORTED: "aborted",
            evt.EVT_REJECTED: "rejected",
        }
        counters: list[EventHandlerType] = [(event, _count_as(outcome)) for event, outcome in counted.items()]
        return [(evt.EVT_REQUESTED, self._on_request), *counters]

    def _on_request(self, event: Event) -> None:
        try:
            rejection = self._admit(event.assoc)
        except Exception:  # pynetdicom would hide it and let the peer in
            log.exception("a request for an association broke the room")
            rejection = Rejection.NO_REASON_GIVEN
        if rejection is not None:
            _reject(event.assoc, rejection)

    def _admit(self, association: Association) -> Rejection | None:
        """Set what the peer may do, or say why it may do nothing."""
        request = association.requestor.primitive
        assert request is not None, "the event comes with a request"
        if self._closed:
            return Rejection.TEMPORARY_CONGESTION
        if request.called_ae_title.strip() != self._ae_title:
            return Rejection.UNKNOWN_CALLED_AE_TITLE
        peer = self._peers.find(request.calling_ae_title.strip(), association.requestor.address)
        if peer is None:
            return Rejection.UNKNOWN_CALLING_AE_TITLE
        association.acceptor.supported_contexts = supported(
            request.presentation_context_definition_list, peer.may, private_classes=self._private_classes
        )
        return None


def _reject(association: Association, rejection: Rejection) -> None:
    association.acse.send_reject(*rejection.value)
    metrics.ASSOCIATIONS.labels("rejected").inc()
    log.warning("association rejected: %s", rejection.name.lower().replace("_", " "), extra=about(association))
    association.kill()  # waits until the peer has read the rejection and hung up


def about(association: Association) -> Mapping[str, str]:
    """Who speaks, for the log."""
    request = association.requestor.primitive
    title = request.calling_ae_title.strip() if request is not None else ""
    return MappingProxyType({"ae_title": title, "host": association.requestor.address})


def _count_as(outcome: str) -> Any:
    def count(event: Event) -> None:
        metrics.ASSOCIATIONS.labels(outcome).inc()
        log.info("association %s", outcome, extra=about(event.assoc))

    return count
