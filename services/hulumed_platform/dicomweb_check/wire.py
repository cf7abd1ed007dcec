"""Requests that a client library will not send: an announced body, and one that breaks off."""

import http.client
import select
from collections.abc import Mapping

import httpx

from hulumed_platform.dicomweb_check.server import TIMEOUT_S, Answer, Server
from hulumed_platform.dicomweb_check.verdict import DeviationError

_INTERIM_WAIT_S = 3.0
_MAX_HEAD_BYTES = 16 * 1024


def post_announced(server: Server, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[bool, Answer]:
    """POST with `Expect: 100-continue` (RFC 9110, section 10.1.1): the body follows once the server asks for it.

    Returns:
        Whether the server asked for the body, and the final answer. A server that is silent gets the body all the
        same after three seconds, as clients do.
    """
    connection = _begin(server, path, {**headers, "Content-Length": str(len(body)), "Expect": "100-continue"})
    try:
        asked = _asked_for_body(connection)
        connection.send(body)
        return asked, _answer(connection)
    except (OSError, http.client.HTTPException) as error:
        raise DeviationError(f"no answer: {type(error).__name__}: {error}") from None
    finally:
        connection.close()


def post_cut(server: Server, path: str, body: bytes, headers: Mapping[str, str], claimed_bytes: int) -> None:
    """POST the body with a Content-Length beyond it, and leave."""
    connection = _begin(server, path, {**headers, "Content-Length": str(claimed_bytes)})
    try:
        connection.send(body)
    except OSError:
        pass  # the server may close first: it is to store nothing either way
    finally:
        connection.close()


def _begin(server: Server, path: str, headers: Mapping[str, str]) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if server.url.scheme == "https" else http.client.HTTPConnection
    connection = kind(server.url.host, server.url.port, timeout=TIMEOUT_S)
    try:
        connection.putrequest("POST", f"{server.url.path.rstrip('/')}{path}")
        for name, value in {**server.headers, **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
    except OSError as error:
        connection.close()
        raise DeviationError(f"no connection: {error}") from None
    return connection


def _asked_for_body(connection: http.client.HTTPConnection) -> bool:
    """Wait for the interim answer, and read no byte beyond it.

    Raises:
        DeviationError: a final answer came at once, to a request that is in order.
    """
    readable, _, _ = select.select([connection.sock], [], [], _INTERIM_WAIT_S)
    if not readable:
        return False
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.sock.recv(1)
        if not piece or len(head) > _MAX_HEAD_BYTES:
            raise DeviationError("the connection was closed before the body was sent")
        head += piece
    status_line = head.split(b"\r\n")[0].decode("latin-1")
    if " 100" not in status_line:
        raise DeviationError(f"{status_line!r} before the body was sent")
    return True


def _answer(connection: http.client.HTTPConnection) -> Answer:
    response = http.client.HTTPResponse(connection.sock, method="POST")
    response.begin()
    return Answer(response.status, httpx.Headers(response.getheaders()), response.read())
