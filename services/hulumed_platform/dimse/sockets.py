"""Sockets of associations: they acknowledge at once, and wait instead of asking a thousand times a second.

Senders as they are shipped leave Nagle's algorithm on (DCMTK since 3.6.2): the last, short segment of every instance
waits until the one before it is acknowledged, and our kernel delays that acknowledgement by 40 ms. Ten instances a
second come through then, however fast both sides are. We cannot mend the sender; we can acknowledge at once.
"""

import errno
import queue
import select
import socket
import ssl
import time
from contextlib import suppress
from typing import Any

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

_LONGEST_PDU_BYTES = 1024 * 1024
"""What is longer is no PDU: a request for an association with every context there is has a third of it."""
_WAIT_MS = 50
"""How long to wait for bytes before looking at timers again."""
_LAST_WORDS_S = 1.0
_ENDING = "Sta13"
"""Waiting for the connection to close (PS3.8, section 9.2.1): we have rejected, aborted or released."""
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux


class ClosingSocket(AssociationSocket):
    """Closes what it opened, also where nobody ever answered."""

    def _shutdown_socket(self) -> None:
        if self.socket is not None:
            with suppress(OSError):  # it is not connected
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()


class ReceivingSocket(ClosingSocket):
    """Reads PDUs whole, acknowledges their segments at once, and waits until there is something to read or send."""

    def __init__(self, association: Association, client_socket: socket.socket) -> None:
        super().__init__(association, client_socket=client_socket)
        self._waker = _Waker()
        association.dul.to_provider_queue = _WakingQueue(self._waker)

    @property
    def ready(self) -> bool:
        """Whether there is something to read; waits a while for it, or until there is something to send."""
        if self.socket is None or not self._is_connected:
            return False
        if self.assoc.dul.state_machine.current_state == _ENDING:
            self._discard(self.socket)
            return False
        if not self.event_queue.empty():  # first what was read before, which may be the end
            return False
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        poll = select.poll()
        try:
            poll.register(self.socket, select.POLLIN)
        except ValueError:  # another thread has closed it
            self.event_queue.put("Evt17")  # connection closed
            return False
        poll.register(self._waker, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(_WAIT_MS)}
        if self._waker.fileno() in ready:
            self._waker.clear()
            ready.remove(self._waker.fileno())
        return bool(ready)

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes, fewer at the end of the connection.

        Raises:
            OSError: The peer was silent for too long, is gone, or announces a PDU that is none; the connection ends.
        """
        if nr_bytes > _LONGEST_PDU_BYTES:
            raise OSError(errno.EMSGSIZE, "a PDU longer than any")
        assert self.socket is not None, "pynetdicom reads from open sockets only"
        timeout_s = self.assoc.network_timeout if self.assoc.is_established else self.assoc.acse_timeout
        assert timeout_s is not None, "our settings have no endless time-outs"
        deadline = time.monotonic() + timeout_s
        received = bytearray(nr_bytes)
        num_read = 0
        with memoryview(received) as view:
            while num_read < nr_bytes:
                self._acknowledge_at_once()  # the kernel forgets it again and again, see tcp(7)
                self.socket.settimeout(max(deadline - time.monotonic(), 0.001))  # 0 means not to wait
                num_new = self.socket.recv_into(view[num_read:])
                if not num_new:
                    break
                num_read += num_new
        self.socket.settimeout(timeout_s)
        self._acknowledge_at_once()
        return received if num_read == nr_bytes else received[:num_read]

    def _discard(self, ending: socket.socket) -> None:
        """Read for a moment what a peer still sends: what is left unread would destroy our last words on their way."""
        deadline = time.monotonic() + _LAST_WORDS_S
        poll = select.poll()
        with suppress(OSError, ValueError):  # it is gone
            poll.register(ending, select.POLLIN)
            while time.monotonic() < deadline and poll.poll(_WAIT_MS):
                if not ending.recv(65536):
                    return

    def _acknowledge_at_once(self) -> None:
        if _QUICKACK is not None and self.socket is not None:
            self.socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class _Waker:
    """Ends a `poll`, from another thread."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def wake(self) -> None:
        with suppress(BlockingIOError):  # there are signs enough
            self._writer.send(b"\0")

    def clear(self) -> None:
        with suppress(BlockingIOError):
            self._reader.recv(4096)

    def __del__(self) -> None:
        self._reader.close()
        self._writer.close()


class _WakingQueue(queue.Queue[Any]):
    """What is to be sent; wakes who waits for bytes to read."""

    def __init__(self, waker: _Waker) -> None:
        super().__init__()
        self._waker = waker

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._waker.wake()
