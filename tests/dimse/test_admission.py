"""Nobody gets in who is not named, and each only for what it may do."""

import socket
import threading
import time
from contextlib import ExitStack
from io import BytesIO

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE, N_ACTION
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made when imported
    StorageCommitmentPushModel,
    Verification,
)

from tests.support.dimse import LOOPBACK, Archive, associated, data_set, encoded, peer, send, try_dcmtk
from tests.support.study_desk import wait_until

EXPLICIT = str(ExplicitVRLittleEndian)
ALL_SERVICES = [(uid, [EXPLICIT]) for uid in (Verification, CTImageStorage, StorageCommitmentPushModel)]


@pytest.mark.parametrize(
    ("calling", "called", "reason"),
    [("STRANGER", "HULUMED", 3), ("MODALITY", "OTHER", 7), ("modality", "HULUMED", 3), ("MODALITY", "HULUMED", None)],
)
def test_titles_that_are_not_named_are_rejected(
    archive: Archive, calling: str, called: str, reason: int | None
) -> None:
    """Calling and called AE title both; Orthanc's default takes any, and modalities then send to the wrong node."""
    with archive.room() as room, associated(room.port, calling=calling, called=called) as association:
        assert association.is_established == (reason is None)
        answer = association.acceptor.primitive
        assert answer is not None
        assert answer.diagnostic == reason


def test_a_known_title_from_another_host_is_rejected(archive: Archive) -> None:
    """An AE title is no secret; where it calls from counts."""
    peers = [peer(hosts=["10.0.0.0/8"]), peer("OTHER")]
    with archive.room(peers=peers) as room, associated(room.port) as association:
        assert association.is_rejected


def test_a_host_that_nobody_calls_from_is_not_spoken_to(archive: Archive) -> None:
    """Closed before a byte of it is read."""
    with (
        archive.room(peers=[peer(hosts=["10.0.0.0/8", "::1"])]) as room,
        socket.create_connection((LOOPBACK, room.port), timeout=10) as connection,
    ):
        assert connection.recv(1) == b""


def test_any_title_may_be_let_in_by_its_host(archive: Archive) -> None:
    """`*`, for a network that only modalities are in; a peer that is named keeps its own rights."""
    peers = [peer("*", may=["echo"]), peer("ARCHIVE", may=["store"])]
    with archive.room(peers=peers) as room:
        with associated(room.port, ALL_SERVICES, calling="WHOEVER") as association:
            assert [context.abstract_syntax for context in association.accepted_contexts] == [Verification]
        with associated(room.port, ALL_SERVICES, calling="ARCHIVE") as association:
            assert [context.abstract_syntax for context in association.accepted_contexts] == [CTImageStorage]


@pytest.mark.parametrize(
    ("may", "service"),
    [("echo", Verification), ("store", CTImageStorage), ("commit", StorageCommitmentPushModel)],
)
def test_a_peer_gets_what_it_may_and_no_more(archive: Archive, may: str, service: str) -> None:
    """By presentation contexts, so that a peer knows before it sends."""
    with (
        archive.room(peers=[peer(may=[may])]) as room,
        associated(room.port, ALL_SERVICES) as association,
    ):
        assert [context.abstract_syntax for context in association.accepted_contexts] == [service]


def test_a_context_is_no_way_to_another_service(archive: Archive) -> None:
    """A peer that may only echo sends C-STORE and N-ACTION in the context of C-ECHO: the library would serve them."""
    store = C_STORE()
    store.MessageID, store.Priority = 1, 2
    store.AffectedSOPClassUID, store.AffectedSOPInstanceUID = CTImageStorage, "1.2.3"
    store.DataSet = BytesIO(data_set(encoded(EXPLICIT, uid="1.2.3")))
    commit = N_ACTION()
    commit.MessageID, commit.ActionTypeID = 2, 1
    commit.RequestedSOPClassUID, commit.RequestedSOPInstanceUID = StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1"
    with (
        archive.room(peers=[peer(may=["echo"])]) as room,
        associated(room.port, [(Verification, [EXPLICIT])]) as association,
    ):
        for request, status in ((store, 0x0122), (commit, 0x0124)):
            association._reactor_checkpoint.clear()
            association.dimse.send_msg(request, 1)
            _, answer = association.dimse.get_msg(block=True)
            association._reactor_checkpoint.set()
            assert isinstance(answer, C_STORE | N_ACTION)
            assert answer.Status == status
    assert not archive.instances()


def test_one_association_too_many_is_told_so(archive: Archive) -> None:
    """Local limit exceeded, transient; when one ends the next is let in."""
    with archive.room(max_associations=3) as room, ExitStack() as stack:
        first = [stack.enter_context(associated(room.port)) for _ in range(3)]
        assert all(association.is_established for association in first)
        with associated(room.port) as fourth:
            assert fourth.is_rejected
            answer = fourth.acceptor.primitive
            assert answer is not None
            assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)
        first[0].release()
        wait_until(lambda: room.num_connections == 2, "the association is gone")
        with associated(room.port) as fifth:
            assert fifth.is_established


def test_connections_that_ask_for_nothing_are_limited_and_closed(archive: Archive) -> None:
    """A port scanner, or a modality that hangs: neither keeps others out for longer than the time-out."""
    with archive.room(max_associations=2, acse_timeout_s=1.0) as room:
        idle = [socket.create_connection((LOOPBACK, room.port), timeout=10) for _ in range(6)]
        started = time.monotonic()
        try:
            assert [connection.recv(1) for connection in idle] == [b""] * 6
        finally:
            for connection in idle:
                connection.close()
        assert time.monotonic() - started < 8
        wait_until(lambda: room.num_connections == 0, "they are gone")
        with associated(room.port) as association:
            assert association.is_established


def test_who_connects_and_leaves_holds_nothing(archive: Archive) -> None:
    """A load balancer that looks whether the port is open, every second."""
    with archive.room(max_associations=2, acse_timeout_s=30.0) as room:
        for _ in range(10):
            socket.create_connection((LOOPBACK, room.port), timeout=10).close()
            wait_until(lambda: room.num_connections == 0, "it is gone", timeout_s=5)


def test_a_silent_association_is_aborted(archive: Archive) -> None:
    """A sender that lost its network never says goodbye."""
    with archive.room(network_timeout_s=0.5) as room, associated(room.port) as association:
        wait_until(lambda: association.is_aborted, "it is aborted")


def test_an_association_set_up_stays_fast(archive: Archive) -> None:
    """Some receivers take a minute for one after many connections; ours hold nothing of those that ended."""
    with archive.room() as room:
        for _ in range(30):
            with associated(room.port, ALL_SERVICES) as association:
                assert association.is_established
        wait_until(lambda: room.num_connections == 0, "they are gone")


def test_a_running_association_outlives_the_start_of_a_stop(archive: Archive) -> None:
    """An update must not break a study that is being sent; and nobody new comes in meanwhile."""
    statuses: list[int] = []
    with ExitStack() as stack:
        with archive.room(drain_timeout_s=20) as room:
            association = stack.enter_context(associated(room.port, ALL_SERVICES))
            sending = threading.Thread(target=_send_slowly, args=(association, statuses))
            sending.start()
        sending.join()
    assert statuses == [0x0000] * 3
    assert len(archive.instances()) == 3
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((LOOPBACK, room.port))


def _send_slowly(association: Association, statuses: list[int]) -> None:
    for _ in range(3):
        time.sleep(0.3)
        statuses.append(send(association, encoded(EXPLICIT)))
    association.release()


def test_what_takes_too_long_to_stop_is_aborted(archive: Archive) -> None:
    """An orchestrator kills soon after."""
    with ExitStack() as stack:
        with archive.room(drain_timeout_s=0.3) as room:
            association = stack.enter_context(associated(room.port))
        wait_until(lambda: association.is_aborted, "it is aborted")


def test_dcmtk_is_told_why(archive: Archive) -> None:
    """What an administrator sees who has forgotten to name the modality."""
    with archive.room() as room:
        code, output = try_dcmtk("echoscu", room.port, calling="STRANGER")
    assert code != 0
    assert "Calling AE Title Not Recognized" in output
