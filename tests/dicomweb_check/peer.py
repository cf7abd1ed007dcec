"""Tiny HTTP servers that speak a little DICOMweb, and misbehave on purpose."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DICOM_JSON = "application/dicom+json"


@dataclass(frozen=True)
class Request:
    """What came in; the path is under the root of the services, without its query."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    """What goes out; a payload other than bytes is sent as DICOM JSON."""

    status: int
    payload: Any = b""
    headers: dict[str, str] = field(default_factory=dict)


Peer = Callable[[Request], Response]


@contextmanager
def serving(peer: Peer) -> Iterator[str]:
    """Serve on loopback; the root of the services is what is yielded."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            request = self._request()
            if len(request.body) < int(request.headers.get("content-length", 0)):
                return  # the client left
            response = peer(request)
            raw = isinstance(response.payload, bytes)
            body = response.payload if raw else json.dumps(response.payload).encode()
            self.send_response(response.status)
            for name, value in ({} if raw else {"Content-Type": DICOM_JSON}).items():
                self.send_header(name, value)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _request(self) -> Request:
            path, _, query = self.path.removeprefix("/dicom-web").partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            return Request(self.command, path, query, headers, body)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815  names of the library

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
        finally:
            server.shutdown()
            thread.join()
