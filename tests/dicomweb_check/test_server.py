"""The client keeps its limits: a server that never ends must not hold the checker."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hulumed_platform.dicomweb_check import server as server_module
from hulumed_platform.dicomweb_check import wire
from hulumed_platform.dicomweb_check.server import Server
from hulumed_platform.dicomweb_check.verdict import DeviationError
from hulumed_platform.dicomweb_check.wire import post_announced
from tests.dicomweb_check.peer import Request, Response, serving

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"


@contextmanager
def talking(*pieces: bytes, pause_s: float = 0.0) -> Iterator[str]:
    """A server that says these bytes to whoever connects, whatever was asked, and closes."""

    def talk() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause_s)
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join()


@pytest.mark.parametrize(
    ("pieces", "pause_s", "found"),
    [
        ([b""], 0.6, "no answer within"),
        ([_HEAD, *[b"x" * 1000] * 8], 0.1, "not at its end"),
        ([_HEAD, b"x" * 20_000], 0.0, "more than"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"], 0.0, "no answer"),
        ([b"no HTTP at all\r\n\r\n"], 0.0, "no answer"),
    ],
    ids=["silent", "slow", "endless", "cut off", "no HTTP"],
)
def test_an_answer_that_does_not_end_is_a_deviation(
    pieces: list[bytes], pause_s: float, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time and bytes of one answer are bounded."""
    monkeypatch.setattr(server_module, "TIMEOUT_S", 0.4)
    monkeypatch.setattr(server_module, "MAX_ANSWER_BYTES", 10_000)
    with talking(*pieces, pause_s=pause_s) as url, Server(url) as server:
        server._http.timeout = 0.4
        with pytest.raises(DeviationError, match=found):
            server.get("/studies")


def test_the_body_waits_for_100_continue() -> None:
    """The interim answer is read alone, then the body goes out and the final answer is read."""
    with (
        talking(
            b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", pause_s=0.1
        ) as url,
        Server(url) as server,
    ):
        asked, answer = post_announced(server, "/studies", b"body", {})
    assert (asked, answer.status, answer.body) == (True, 200, b"ok")


def test_the_body_goes_out_when_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may ignore Expect; a client that waited for ever would be worse than the server."""
    monkeypatch.setattr(wire, "_INTERIM_WAIT_S", 0.1)
    with talking(b"", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", pause_s=0.2) as url, Server(url) as server:
        asked, answer = post_announced(server, "/studies", b"body", {})
    assert (asked, answer.status) == (False, 200)


def test_a_final_answer_before_the_body_is_a_deviation() -> None:
    """The request is in order: the server has no reason to refuse it by its head."""
    refusal = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"
    with talking(refusal) as url, Server(url) as server, pytest.raises(DeviationError, match="417"):
        post_announced(server, "/studies", b"body", {})


def test_credentials_go_to_their_server_alone() -> None:
    """They are sent with every request, left out on demand, and never follow an address to another host."""
    seen: list[str] = []

    def watching(request: Request) -> Response:
        seen.append(request.headers.get("authorization", ""))
        return Response(200)

    with serving(watching) as url, Server(url, {"Authorization": "Bearer x"}) as server:
        server.get("/studies")
        server.request("GET", "/studies", credentials=False)
        assert server.follow("http://elsewhere.example/studies") is None
        assert server.follow(f"{url}/studies") is not None
    assert seen == ["Bearer x", "", "Bearer x"]
