"""Peers that break the protocol, by malice or by a cut cable: nothing half is stored, nobody else notices."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.dimse_primitives import C_STORE

from hulumed_platform.dimse.listener import Listener
from tests.support.dimse import LOOPBACK, Archive, associated, data_set, dcmtk, encoded, open_archive, send
from tests.support.study_desk import wait_until

EXPLICIT = str(ExplicitVRLittleEndian)
CT = [(CTImageStorage, [EXPLICIT])]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Archive, Listener]]:
    """A room that every bad peer of this file calls."""
    with open_archive(tmp_path_factory.mktemp("archive")) as archive, archive.room(acse_timeout_s=3.0) as room:
        yield archive, room
        assert "Success" in dcmtk("echoscu", room.port)
        wait_until(lambda: room.num_connections == 0, "no bad peer holds a connection")
        assert not list((archive.folder / "scratch").iterdir())


def connect(room: Listener) -> socket.socket:
    return socket.create_connection((LOOPBACK, room.port), timeout=15)


def ends(connection: socket.socket) -> bytes:
    """What the room says until it hangs up."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(4096):
            said += part
    return said


GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n",
    "tls": bytes.fromhex("16030100fe010000fa0303") + bytes(240),
    "zeros": bytes(4096),
    "unknown PDU": b"\x09\x00\x00\x00\x00\x04abcd",
    "data before an association": b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x02\x01\x03",
    "release before an association": b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00",
    "four gigabytes are announced": b"\x01\x00\xff\xff\xff\xff",
    "request that is cut": b"\x01\x00\x00\x00\x01\x00\x00\x01",
    "request of nonsense": b"\x01\x00\x00\x00\x00\x50" + b"\xff" * 80,
    "nothing": b"",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_ends_its_connection(shared: tuple[Archive, Listener], garbage: bytes) -> None:
    """Within the time-out, whatever it is; and never accepted (0x02)."""
    with connect(shared[1]) as connection:
        connection.sendall(garbage)
        assert ends(connection)[:1] != b"\x02"


@given(st.binary(max_size=200), st.integers(1, 7))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_end_their_connection(shared: tuple[Archive, Listener], body: bytes, pdu_type: int) -> None:
    """The same for PDUs that are framed well."""
    with connect(shared[1]) as connection:
        connection.sendall(struct.pack(">BBI", pdu_type, 0, len(body)) + body)
        connection.shutdown(socket.SHUT_WR)
        assert ends(connection)[:1] != b"\x02"


def command(association_id: int, body: bytes, header: int) -> bytes:
    """A P-DATA-TF of one PDV."""
    pdv = struct.pack(">IBB", len(body) + 2, association_id, header) + body
    return struct.pack(">BBI", 4, 0, len(pdv)) + pdv


BAD_MESSAGES = {
    "no command set": command(1, b"\xff" * 64, 0x03),
    "empty PDV": struct.pack(">BBIIB", 4, 0, 5, 1, 1),
    "context that was not accepted": command(99, b"\x00\x00\x00\x01\x02\x00\x00\x00\x30\x00", 0x03),
    "command set without end": command(1, bytes(100_000), 0x01),
    "data set without a command": command(1, bytes(100_000), 0x00) * 200,
}


@pytest.mark.parametrize("message", BAD_MESSAGES.values(), ids=BAD_MESSAGES.keys())
def test_a_message_that_makes_no_sense_aborts_its_association(shared: tuple[Archive, Listener], message: bytes) -> None:
    """Within its association only, and without filling the memory."""
    with associated(shared[1].port) as association:
        socket_ = association.dul.socket
        assert socket_ is not None
        assert socket_.socket is not None
        with contextlib.suppress(OSError):
            socket_.socket.sendall(message)
        wait_until(lambda: association.is_aborted, "it is aborted")


@pytest.mark.parametrize("size_bytes", [200_000, 20_000_000])
def test_a_sender_that_is_cut_off_stores_nothing(shared: tuple[Archive, Listener], size_bytes: int) -> None:
    """In the middle of an instance, in memory or on disk: no row, no object, no file left."""
    archive, room = shared
    before = len(archive.instances())
    with associated(room.port, CT) as association:
        contents = encoded(EXPLICIT, size_bytes=size_bytes)
        request = C_STORE()
        request.MessageID = 1
        request.AffectedSOPClassUID = CTImageStorage
        request.AffectedSOPInstanceUID = "1.2.3"
        request.Priority = 2
        request.DataSet = BytesIO(data_set(contents))
        sent = threading.Event()
        with _cut_after(association, size_bytes // 2, sent):
            association.dimse.send_msg(request, 1)
            assert sent.wait(20)
            wait_until(lambda: not association.is_established, "the sender notices")
    wait_until(lambda: room.num_connections == 0, "the room notices")
    assert len(archive.instances()) == before


def _cut_after(association: object, num_bytes: int, done: threading.Event) -> socket.socket:
    """Have the sender's connection break after so many bytes; to be closed, as pynetdicom then never does."""
    socket_ = association.dul.socket  # type: ignore[attr-defined]
    send_bytes, total = socket_.send, 0

    def send_some(data: bytes) -> None:
        nonlocal total
        total += len(data)
        if total > num_bytes:
            raw.shutdown(socket.SHUT_RDWR)
            done.set()
        send_bytes(data)

    socket_.send = send_some
    raw: socket.socket = socket_.socket
    return raw


def test_requests_that_wait_for_no_answer_end_the_association(shared: tuple[Archive, Listener]) -> None:
    """Asynchronous operations are not agreed on; a peer that sends on regardless would fill the memory."""
    with associated(shared[1].port, CT) as association:
        for number in range(1, 30):
            request = C_STORE()
            request.MessageID = number
            request.AffectedSOPClassUID = CTImageStorage
            request.AffectedSOPInstanceUID = f"1.2.3.{number}"
            request.Priority = 2
            request.DataSet = BytesIO(data_set(encoded(EXPLICIT)))
            association.dimse.send_msg(request, 1)
        wait_until(lambda: association.is_aborted, "it is aborted")


def test_a_peer_that_stalls_keeps_no_other_waiting(shared: tuple[Archive, Listener]) -> None:
    """One stuck C-ECHO has stopped whole gateways."""
    _, room = shared
    with connect(room) as stalled, associated(room.port, CT) as association:
        stalled.sendall(b"\x01\x00\x00")
        assert send(association, encoded(EXPLICIT)) == 0x0000
