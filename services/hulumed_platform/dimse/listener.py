"""Who may connect, TLS, and associations made of connections."""

import logging
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Queue
from socketserver import BaseServer
from typing import Any, cast

from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.fsm import TRANSITION_TABLE, StateMachine
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from hulumed_platform.core.settings import SettingsError
from hulumed_platform.dimse import metrics
from hulumed_platform.dimse.receiving import ReceivingProvider, Spool
from hulumed_platform.dimse.sockets import ReceivingSocket

log = logging.getLogger(__name__)

_POLL_S = 0.1
_LOOP_PAUSE_S = 0.0001
"""Pause of pynetdicom's loop between two looks; our socket waits by itself until there is something to do."""


class Listener(ThreadedAssociationServer):
    """Listens, and makes an association of every connection that is let in.

    Args:
        ae: our application entity: title, limits, time-outs.
        address: host and port; port 0 = any free one.
        contexts: what is supported before anybody is known.
        handlers: of pynetdicom's events.
        lets_in: whether a host may connect.
        max_connections: more are closed at once.
        spool: takes in what is being received.
        tls: what connections are wrapped in.

    Raises:
        SettingsError: Nobody can listen there.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        ae: ApplicationEntity,
        address: tuple[str, int],
        contexts: list[PresentationContext],
        handlers: Sequence[EventHandlerType],
        *,
        lets_in: Callable[[str], bool],
        max_connections: int,
        spool: Spool,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.spool = spool
        self.tls = tls
        self._lets_in = lets_in
        self._max_connections = max_connections
        self._num_opening = 0
        self._lock = threading.Lock()
        try:
            super().__init__(
                ae, address, ae.ae_title, contexts, evt_handlers=list(handlers), request_handler=_Connection
            )
        except OSError as error:
            raise SettingsError(
                f"host, port: cannot listen on {address[0]}:{address[1]}: {error.strerror or error}"
            ) from error

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self.server_address[1])

    @property
    def num_connections(self) -> int:
        """Connections that are open, with and without an association."""
        return self._num_opening + len(self.active_associations)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Let connections in, on a thread, while the block runs. Associations outlive it."""
        thread = threading.Thread(target=self.serve_forever, args=(_POLL_S,), name="listener", daemon=True)
        thread.start()
        try:
            yield
        finally:
            BaseServer.shutdown(self)  # pynetdicom's own expects a server that its `start_server` made
            thread.join()
            self.server_close()

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002  as in the base class
        """Whether to speak to who connects at all."""
        if not self._lets_in(client_address[0]):
            reason = "unknown host"
        elif self.num_connections >= self._max_connections:
            reason = "too many"
        else:
            return True
        metrics.CONNECTIONS_REFUSED.labels(reason).inc()
        log.warning("connection refused: %s", reason, extra={"host": client_address[0]})
        return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """Go on in a thread: a TLS handshake that hangs must not keep others waiting."""
        with self._lock:
            self._num_opening += 1
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Open one connection; its association has threads of its own."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._num_opening -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  as in the base class
        """Tell of a connection that could not be opened."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):  # ssl.SSLError is one
            metrics.CONNECTIONS_REFUSED.labels("no handshake").inc()
            log.warning("connection not opened: %s", type(error).__name__, extra={"host": client_address[0]})
        else:
            log.error("connection not opened", exc_info=error, extra={"host": client_address[0]})


class _Connection(RequestHandler):
    """One connection on its way to an association."""

    server: Listener
    request: socket.socket

    def setup(self) -> None:
        self.request.settimeout(self.ae.acse_timeout)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)

    def _create_association(self) -> Association:
        association = super()._create_association()
        association.dul.event_queue.get_nowait()  # "connected", said by the socket that ours replaces; ours says it too
        association.dul.socket = ReceivingSocket(association, self.request)
        association.dul.state_machine = _StateMachine(association.dul)
        association.dul._run_loop_delay = _LOOP_PAUSE_S
        association.dimse = ReceivingProvider(association, self.server.spool)
        return association


class _StateMachine(StateMachine):
    """pynetdicom's, with two corrections.

    An answer that comes too late, when the association has been aborted, is let go. And whoever waits for a request is
    told of the end of the connection: a port scanner would else hold a place until the time-out.
    """

    def do_action(self, event: str) -> None:
        if event == "Evt9" and (event, self.current_state) not in TRANSITION_TABLE:  # data to be sent
            self.dul.to_provider_queue.get(block=False)
            return
        super().do_action(event)
        if self.current_state == "Sta1":  # idle: the connection is closed
            cast("Queue[None]", self.dul.to_user_queue).put(None)
