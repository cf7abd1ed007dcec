"""The probes of an orchestrator: `/healthz` while the process lives, `/readyz` once it can work."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.core.settings import SettingsError

Check = Callable[[], None]
"""Raises `PlatformError` while something that the room needs is away."""


@contextmanager
def serve_probes(host: str, port: int, checks: Mapping[str, Check]) -> Iterator[int]:
    """Answer probes on a thread while the block runs; yields the port.

    `/readyz` answers 200 when every check passes, else 503 with the checks that do not and why.

    Raises:
        SettingsError: Nobody can listen there.
    """
    with _listening(host, port, checks) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="probes", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _listening(host: str, port: int, checks: Mapping[str, Check]) -> ThreadingHTTPServer:
    try:
        return ThreadingHTTPServer((host, port), _handler(checks))
    except OSError as error:
        raise SettingsError(f"host, port: cannot listen on {host}:{port}: {error.strerror}") from error


def _handler(checks: Mapping[str, Check]) -> type[BaseHTTPRequestHandler]:
    class Probes(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/healthz":
                self._answer(HTTPStatus.OK, {"status": "alive"})
            elif self.path == "/readyz":
                faults = _faults(checks)
                status = HTTPStatus.SERVICE_UNAVAILABLE if faults else HTTPStatus.OK
                self._answer(status, {"ready": not faults, "faults": faults})
            else:
                self._answer(HTTPStatus.NOT_FOUND, {"error": "there is /healthz and /readyz"})

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
            """A probe every few seconds is nothing to log."""

        def _answer(self, status: HTTPStatus, body: Mapping[str, object]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Probes


def _faults(checks: Mapping[str, Check]) -> dict[str, str]:
    faults = {}
    for name, check in checks.items():
        try:
            check()
        except PlatformError as error:
            faults[name] = error.message
    return faults
