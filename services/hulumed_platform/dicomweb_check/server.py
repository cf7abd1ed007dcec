"""A DICOMweb server as its clients see it: requests with limits in time and bytes, answers as they came."""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from hulumed_platform.dicomweb_check.verdict import DeviationError

TIMEOUT_S = 30.0
"""Longest wait for one answer, from the first byte sent to the last byte received."""
MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""All data sent are small, so no right answer is larger."""
DICOM_JSON = "application/dicom+json"
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def media_type(self) -> str:
        """The Content-Type without its parameters, in lower case; empty where there is none."""
        return str(self.headers.get("content-type", "")).split(";")[0].strip().lower()

    @property
    def ok(self) -> bool:
        """Whether the status is a success."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            DeviationError: it is none.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise DeviationError(f"{self}; the body is no JSON") from None

    def __str__(self) -> str:
        text = " ".join(self.body[: 8 * _SHOWN_CHARACTERS].decode("utf-8", "replace").split())
        shown = text[:_SHOWN_CHARACTERS] + ("…" if len(text) > _SHOWN_CHARACTERS else "")
        warning = f", Warning: {self.headers['warning']}" if "warning" in self.headers else ""
        return f"{self.status} {self.media_type or '(no Content-Type)'}{warning}: {shown or '(no body)'}"


class Server:
    """One DICOMweb server; use it as a context manager.

    Args:
        url: root of its services, as in `https://pacs.example/dicom-web`.
        headers: sent with every request, such as Authorization.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = httpx.URL(url.rstrip("/"))
        self.headers = dict(headers or {})
        # A proxy in between would be what is checked. A connection is used once: what one check left of it, such as a
        # refused body, must not spoil the next.
        self._http = httpx.Client(timeout=TIMEOUT_S, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        credentials: bool = True,
    ) -> Answer:
        """Send a request and read the whole answer. An iterable as content is sent chunked.

        Raises:
            DeviationError: no whole answer came within the limits.
        """
        own = self.headers if credentials else {}
        return self._send(method, f"{self.url}{path}", content, {**own, **(headers or {})})

    def get(self, path: str, accept: str = DICOM_JSON) -> Answer:
        """GET a path under the root of the services."""
        return self.request("GET", path, headers={"Accept": accept})

    def follow(self, url: str, base: str = "/", accept: str = "*/*") -> Answer | None:
        """GET an address that the server gave out, relative to the path `base`; None where it is of another origin.

        Credentials of this server are not for another one.
        """
        target = httpx.URL(f"{self.url}{base}").join(url)
        if (target.scheme, target.netloc) != (self.url.scheme, self.url.netloc):
            return None
        return self._send("GET", str(target), None, {**self.headers, "Accept": accept})

    def _send(
        self, method: str, url: str, content: bytes | Iterable[bytes] | None, headers: Mapping[str, str]
    ) -> Answer:
        deadline = time.monotonic() + TIMEOUT_S
        try:
            with self._http.stream(method, url, content=content, headers=headers) as response:
                body = _read(response, deadline)
        except httpx.TimeoutException:
            raise DeviationError(f"no answer within {TIMEOUT_S:.0f} s") from None
        except httpx.HTTPError as error:
            raise DeviationError(f"no answer: {type(error).__name__}: {error}") from None
        return Answer(response.status_code, response.headers, body)


def _read(response: httpx.Response, deadline: float) -> bytes:
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise DeviationError(f"{response.status_code}; the answer has more than {MAX_ANSWER_BYTES:,} bytes")
        if time.monotonic() > deadline:
            raise DeviationError(f"{response.status_code}; the answer is not at its end after {TIMEOUT_S:.0f} s")
    return bytes(body)
