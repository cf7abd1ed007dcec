"""Storage commitment: a modality deletes its copy when we say yes, so a yes arrives, and only when it is true."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]  # made when imported
from sqlalchemy import select

from hulumed_platform.storage.models import PendingCommitment
from hulumed_platform.storage.pending_reports import PendingReports
from tests.support.dimse import CALLING, LOOPBACK, Archive, associated, encoded, peer, send
from tests.support.processes import free_ports
from tests.support.study_desk import wait_until

EXPLICIT = str(ExplicitVRLittleEndian)
CONTEXTS = [(CTImageStorage, [EXPLICIT]), (StorageCommitmentPushModel, [str(ImplicitVRLittleEndian)])]
INSTANCE = "1.2.840.10008.1.20.1.1"


@dataclass
class Reports:
    """Reports that arrived, and what to answer."""

    status: int = 0x0000
    received: list[tuple[int, Dataset]] = field(default_factory=list)
    came: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def on_event_report(self, event: Event) -> tuple[int, None]:
        assert event.event_type is not None
        self.received.append((event.event_type, event.event_information))
        self.came.release()
        return self.status, None

    def next(self) -> tuple[int, Dataset]:
        """Wait for one more."""
        assert self.came.acquire(timeout=30), "no report came"
        return self.received[-1]

    @contextmanager
    def listening(self, port: int, ae_title: str = CALLING) -> Iterator[None]:
        """A modality that takes reports on associations of ours."""
        ae = AE(ae_title)
        ae.require_called_aet = True
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, self.on_event_report)]
        server = ae.start_server((LOOPBACK, port), block=False, evt_handlers=handlers)
        assert server is not None
        try:
            yield
        finally:
            server.shutdown()


@contextmanager
def asking(port: int, reports: Reports | None = None) -> Iterator[Association]:
    """An association that may store, ask for commitment, and take the report."""
    handlers = [] if reports is None else [(evt.EVT_N_EVENT_REPORT, reports.on_event_report)]
    role = build_role(StorageCommitmentPushModel, scu_role=True)
    with associated(port, CONTEXTS, evt_handlers=handlers, ext_neg=[role]) as association:
        yield association


def ask(association: Association, references: list[tuple[str, str]], transaction_uid: str | None = None) -> int:
    """Ask for commitment; return the status of N-ACTION."""
    information = Dataset()
    information.TransactionUID = transaction_uid or generate_uid()
    information.ReferencedSOPSequence = [_item(*reference) for reference in references]
    status, _ = association.send_n_action(information, 1, StorageCommitmentPushModel, INSTANCE)
    return int(status.Status)


def _item(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def stored(association: Association) -> tuple[str, str]:
    """Store an instance; how to refer to it."""
    uid = generate_uid()
    assert send(association, encoded(EXPLICIT, uid=uid)) == 0x0000
    return CTImageStorage, uid


def pending(archive: Archive) -> list[PendingCommitment]:
    with archive.database.reading() as session:
        return list(session.scalars(select(PendingCommitment)))


def uids(information: Dataset, sequence: str) -> list[str]:
    return [item.ReferencedSOPInstanceUID for item in information.get(sequence, [])]


def test_the_report_comes_on_the_association_that_asked(archive: Archive) -> None:
    """Modalities behind a firewall cannot be called back."""
    reports = Reports()
    with archive.room() as room, asking(room.port, reports) as association:
        references = [stored(association), stored(association)]
        transaction_uid = generate_uid()
        assert ask(association, references, transaction_uid) == 0x0000
        event_type, information = reports.next()
        assert event_type == 1
        assert information.TransactionUID == transaction_uid
        assert uids(information, "ReferencedSOPSequence") == [uid for _, uid in references]
        assert "FailedSOPSequence" not in information
        wait_until(lambda: not pending(archive), "nothing is pending")


def test_what_is_not_here_is_named_with_the_reason(archive: Archive) -> None:
    """PS3.3, C.14.1.1: no such instance, another class, a reference without a UID; and yes to the others."""
    reports = Reports()
    with archive.room() as room, asking(room.port, reports) as association:
        sop_class, uid = stored(association)
        other = stored(association)[1]
        missing = generate_uid()
        ask(
            association, [(sop_class, uid), (sop_class, missing), ("1.2.840.10008.5.1.4.1.1.4", other), (sop_class, "")]
        )
        event_type, information = reports.next()
    assert event_type == 2
    assert uids(information, "ReferencedSOPSequence") == [uid]
    assert [item.FailureReason for item in information.FailedSOPSequence] == [0x0112, 0x0119, 0x0112]


def test_instances_may_come_while_a_report_is_on_its_way(archive: Archive) -> None:
    """Requests of the peer and its answers to ours must not be taken for each other."""
    reports = Reports()
    with archive.room() as room, asking(room.port, reports) as association:
        references = [stored(association)]
        for _ in range(3):
            assert ask(association, references) == 0x0000
            assert send(association, encoded(EXPLICIT)) == 0x0000
        for _ in range(3):
            assert reports.next()[0] == 1
        assert association.is_established


def test_who_has_hung_up_is_called_back(archive: Archive) -> None:
    """Most modalities release at once, and listen for the report."""
    reports = Reports()
    (port,) = free_ports(1)
    peers = [peer(reports_to={"host": LOOPBACK, "port": port})]
    with reports.listening(port), archive.room(peers=peers) as room:
        with asking(room.port) as association:
            reference = stored(association)
            assert ask(association, [reference]) == 0x0000
        event_type, information = reports.next()
        assert event_type == 1
        assert uids(information, "ReferencedSOPSequence") == [reference[1]]
        wait_until(lambda: not pending(archive), "nothing is pending")


@pytest.mark.parametrize("refusal", [0x0110, 0x0213])
def test_a_report_that_is_refused_comes_again(archive: Archive, refusal: int) -> None:
    """A modality that is busy with a patient says no at first."""
    reports = Reports(status=refusal)
    (port,) = free_ports(1)
    peers = [peer(reports_to={"host": LOOPBACK, "port": port})]
    with reports.listening(port), archive.room(peers=peers) as room:
        with asking(room.port) as association:
            ask(association, [stored(association)])
        reports.next()
        reports.status = 0x0000
        reports.next()
        wait_until(lambda: not pending(archive), "nothing is pending")


def test_a_report_survives_a_restart_and_a_peer_that_is_away(archive: Archive) -> None:
    """Asked in the evening, restarted at night, reported when the modality is switched on in the morning."""
    reports = Reports()
    (port,) = free_ports(1)
    peers = [peer(reports_to={"host": LOOPBACK, "port": port})]
    with archive.room(peers=peers) as room, asking(room.port) as association:
        reference = stored(association)
        ask(association, [reference])
    assert len(pending(archive)) == 1
    with archive.room(peers=peers):
        wait_until(lambda: pending(archive)[0].attempt > 1, "it was tried")
        with reports.listening(port):
            assert uids(reports.next()[1], "ReferencedSOPSequence") == [reference[1]]
        wait_until(lambda: not pending(archive), "nothing is pending")


def test_one_peer_that_is_away_keeps_no_other_waiting(archive: Archive) -> None:
    """Each has its own thread: a bad destination never blocks another."""
    reports = Reports()
    away, here = free_ports(2)
    peers = [
        peer("AWAY", reports_to={"host": LOOPBACK, "port": away}),
        peer("HERE", reports_to={"host": LOOPBACK, "port": here}),
    ]
    now = datetime.now(UTC)
    with archive.database.session() as session:
        pending_reports = PendingReports(session, "default")
        for number in range(5):
            pending_reports.add("AWAY", f"1.2.{number}", [("1.2", "1.3")], now, due_at=now)
        pending_reports.add("HERE", "1.3.1", [("1.2", "1.3")], now, due_at=now)
    with reports.listening(here, "HERE"), archive.room(peers=peers):
        assert reports.next()[1].TransactionUID == "1.3.1"
        wait_until(lambda: {row.peer for row in pending(archive)} == {"AWAY"}, "only the others are pending")


def test_a_report_that_never_arrives_is_given_up(archive: Archive) -> None:
    """A modality that was scrapped must not be called for ever; nor one that left and cannot be called."""
    (port,) = free_ports(1)
    peers = [peer(reports_to={"host": LOOPBACK, "port": port}), peer("SILENT")]
    now = datetime.now(UTC)
    with archive.database.session() as session:
        for title in (CALLING, "SILENT"):
            PendingReports(session, "default").add(title, "1.2.3", [("1.2", "1.3")], now, due_at=now)
    with archive.room(peers=peers, report_give_up_after_s=0.5):
        wait_until(lambda: not pending(archive), "nothing is pending")


BAD_REQUESTS: dict[str, tuple[Callable[[Dataset], object], str, int, int]] = {
    "no transaction": (lambda information: information.pop("TransactionUID"), INSTANCE, 1, 0x0115),
    "no references": (lambda information: information.pop("ReferencedSOPSequence"), INSTANCE, 1, 0x0115),
    "another action": (lambda _: None, INSTANCE, 2, 0x0123),
    "another instance": (lambda _: None, "1.2.3", 1, 0x0112),
}


@pytest.mark.parametrize(("spoil", "instance", "action", "status"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_a_request_that_cannot_be_read_is_refused(
    archive: Archive, spoil: Callable[[Dataset], object], instance: str, action: int, status: int
) -> None:
    """By its status, so that the modality does not wait for a report."""
    information = Dataset()
    information.TransactionUID = generate_uid()
    information.ReferencedSOPSequence = [_item(CTImageStorage, "1.2.3")]
    spoil(information)
    with archive.room() as room, asking(room.port) as association:
        answer, _ = association.send_n_action(information, action, StorageCommitmentPushModel, instance)
        assert answer.Status == status
    assert not pending(archive)


def test_a_request_that_is_sent_again_is_reported_once(archive: Archive) -> None:
    """The modality missed our answer, and sends the same transaction again."""
    reports = Reports()
    with archive.room() as room, asking(room.port, reports) as association:
        reference = stored(association)
        for _ in range(2):
            assert ask(association, [reference], "1.2.3.4") == 0x0000
        reports.next()
        wait_until(lambda: not pending(archive), "nothing is pending")
    assert len(reports.received) == 1
