"""A client of the gateway's HTTP interface, for the command line."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.multipart import DicomParts

_TIMEOUT = httpx.Timeout(30.0, read=600.0)
"""A long prompt may take minutes to its first token on a CPU."""


@dataclass(frozen=True, slots=True)
class StowResult:
    """What a STOW-RS request became (PS3.18 table I.2-1)."""

    stored: frozenset[str]
    """SOP Instance UIDs."""
    failed: dict[str, int]
    """Failure Reason by SOP Instance UID; what had no readable UID is missing here and in `stored`."""


class Gateway:
    """One gateway; use it as a context manager. Every method raises CliError with what the gateway says."""

    def __init__(self, url: str) -> None:
        self.url = url
        # Proxies of the environment are for the internet, not for the gateway next door.
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def store(self, files: Sequence[Path], on_sent: Callable[[int], None]) -> StowResult:
        """Post DICOM files in one STOW-RS request (PS3.18 10.5)."""
        parts = DicomParts(files, on_sent)
        headers = {**parts.headers, "Accept": "application/dicom+json"}
        response = self._request("POST", "/dicom-web/studies", content=iter(parts), headers=headers, accept=(409,))
        return _stow_result(response.json())

    def upload(self, path: Path) -> str:
        """Upload a file by `/v1/files`, without its name, which may be a patient's; return its id."""
        with path.open("rb") as file:
            upload = {"file": (f"upload{path.suffix}", file)}
            response = self._request("POST", "/v1/files", data={"purpose": "user_data"}, files=upload)
        return str(response.json()["id"])

    def get(self, path: str) -> Any:
        """The JSON under a path."""
        return self._request("GET", path).json()

    def chat(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Stream an answer: the chunks of `/v1/chat/completions` as they come."""
        try:
            with self._http.stream("POST", "/v1/chat/completions", json={**request, "stream": True}) as response:
                if response.is_error:
                    response.read()
                    raise CliError(_fault(response))
                yield from _events(response.iter_lines())
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _request(self, method: str, path: str, *, accept: Sequence[int] = (), **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.is_error and response.status_code not in accept:
            raise CliError(_fault(response))
        return response

    def _unreachable(self, error: httpx.HTTPError) -> CliError:
        return CliError(f"the gateway at {self.url} cannot be reached, or broke off: {error}")


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The JSON of server-sent events; an error that comes in the middle of the stream is raised."""
    for line in lines:
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        event = json.loads(data)
        if "error" in event:
            raise CliError(str(event["error"].get("message", event["error"])))
        yield event


def _fault(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        return str(error["message"])
    except (ValueError, KeyError, TypeError):
        return f"the gateway answered {response.status_code}: {response.text[:500]}"


def _stow_result(body: dict[str, Any]) -> StowResult:
    """Read the response module in the DICOM JSON model (PS3.18 annex F)."""
    stored = _items(body, "00081199")  # Referenced SOP Sequence
    failed = _items(body, "00081198")  # Failed SOP Sequence
    return StowResult(
        stored=frozenset(_value(item, "00081155") for item in stored),
        failed={_value(item, "00081155"): int(_value(item, "00081197") or 0) for item in failed},
    )


def _items(body: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    return list(body.get(tag, {}).get("Value", []))


def _value(item: dict[str, Any], tag: str) -> Any:
    return next(iter(item.get(tag, {}).get("Value", [])), "")
