"""A peer by DICOMweb: QIDO-RS, then WADO-RS, one instance a request (PS3.18, sections 10.4 and 10.6)."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import SEEK_END
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

import httpx

from hulumed_platform.archive.peers.peer import Budget, Deliver, FoundStudy, StudyQuery, away, is_uid, read_date
from hulumed_platform.archive.rules.schema import DicomwebPeer
from hulumed_platform.core.settings import read_secret

_JSON = "application/dicom+json"
_ANY_SYNTAX = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PAGE = 500
_MEMORY_BYTES = 8 * 1024 * 1024
_MAX_HEAD_BYTES = 64 * 1024
_MAX_JSON_BYTES = 32 * 1024 * 1024
_BOUNDARY = re.compile(r'boundary="?([^";]{1,70})"?', re.IGNORECASE)

Item = Mapping[str, Any]
"""A data set in the DICOM JSON model."""


class DicomwebArchive:
    """See `peer.Peer`."""

    def __init__(self, settings: DicomwebPeer) -> None:
        self._url = settings.url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {read_secret(settings.token_file)}"} if settings.token_file else {}

    def studies(self, query: StudyQuery, budget: Budget) -> list[FoundStudy]:
        """See `peer.Peer`."""
        parameters = {
            "PatientID": query.patient_id,
            "StudyDate": query.date_range,
            "includefield": "IssuerOfPatientID",
            "limit": str(_PAGE),
        }
        with self._client() as http:
            answers = _json(http, f"{self._url}/studies", parameters, budget)
        return [study for answer in answers if (study := _found(answer, query))]

    def fetch(self, study_instance_uid: str, deliver: Deliver, budget: Budget) -> None:
        """See `peer.Peer`."""
        study = f"{self._url}/studies/{study_instance_uid}"
        with self._client() as http:
            for series_uid, instance_uid in list(_instances(http, study, budget)):
                with _instance(http, f"{study}/series/{series_uid}/instances/{instance_uid}", budget) as file:
                    deliver(file)

    def _client(self) -> httpx.Client:
        return httpx.Client(headers=self._headers, trust_env=False)


def _instances(http: httpx.Client, study: str, budget: Budget) -> Iterator[tuple[str, str]]:
    """Series and SOP Instance UIDs of a study, page by page."""
    offset = 0
    while page := _json(http, f"{study}/instances", {"limit": str(_PAGE), "offset": str(offset)}, budget):
        for item in page:
            uids = _value(item, "0020000E"), _value(item, "00080018")
            if not all(map(is_uid, uids)):
                raise away("has an instance without a proper UID")
            yield uids
        if len(page) < _PAGE:
            return
        offset += len(page)
        budget.check()


def _json(http: httpx.Client, url: str, parameters: Mapping[str, str], budget: Budget) -> list[Item]:
    with _answer(http, url, parameters, _JSON, budget) as response:
        if response.status_code == httpx.codes.NO_CONTENT:
            return []
        content = bytearray()
        for piece in response.iter_bytes():
            budget.check()
            content += piece
            if len(content) > _MAX_JSON_BYTES:
                raise away("answers with more than 32 MiB to a query")
        try:
            items: list[Item] = json.loads(content)
        except ValueError:
            raise away("answers a query with something that is no JSON") from None
    return items


@contextmanager
def _instance(http: httpx.Client, url: str, budget: Budget) -> Iterator[BinaryIO]:
    """One instance as a file; a part's bytes are those of the instance, without the dashes around it."""
    with SpooledTemporaryFile(_MEMORY_BYTES) as spool:
        file = cast("BinaryIO", spool)
        with _answer(http, url, {}, _ANY_SYNTAX, budget) as response:
            boundary = _boundary(response.headers.get("content-type", ""))
            head = b"" if boundary else None
            for piece in response.iter_bytes():
                budget.check()
                if head is None:
                    file.write(piece)
                elif b"\r\n\r\n" in (head := head + piece):
                    file.write(head.split(b"\r\n\r\n", 1)[1])
                    head = None
                elif len(head) > _MAX_HEAD_BYTES:
                    raise away("answers with a part without an end of its headers")
        if boundary:
            _cut_tail(file, b"\r\n--" + boundary)
        budget.take(file.seek(0, SEEK_END))
        file.seek(0)
        yield file


def _cut_tail(file: BinaryIO, delimiter: bytes) -> None:
    """Remove the delimiter after the last part, and what stands after it."""
    size = file.seek(0, SEEK_END)
    tail = file.seek(max(size - len(delimiter) - 1024, 0))
    at = file.read().rfind(delimiter)
    if at < 0:
        raise away("broke off in the middle of an instance")
    file.truncate(tail + at)


@contextmanager
def _answer(
    http: httpx.Client, url: str, parameters: Mapping[str, str], accept: str, budget: Budget
) -> Iterator[httpx.Response]:
    try:
        with http.stream("GET", url, params=parameters, headers={"Accept": accept}, timeout=budget.left_s) as response:
            if response.status_code not in (httpx.codes.OK, httpx.codes.NO_CONTENT):
                status = response.status_code
                retryable = status in (408, 429) or status >= 500
                raise away(f"answers with HTTP status {status}", retryable=retryable)
            yield response
    except httpx.HTTPError as error:
        raise away("cannot be reached, or broke off") from error


def _boundary(content_type: str) -> bytes | None:
    found = _BOUNDARY.search(content_type) if content_type.lower().startswith("multipart/") else None
    return found[1].encode() if found else None


def _found(answer: Item, query: StudyQuery) -> FoundStudy | None:
    """None for a study of another patient, or without a UID or a date."""
    uid, day = _value(answer, "0020000D"), read_date(_value(answer, "00080020"))
    if not is_uid(uid) or day is None or not query.fits(_value(answer, "00100020"), _value(answer, "00100021")):
        return None
    modalities = frozenset(str(one) for one in answer.get("00080061", {}).get("Value", []) if one)
    count = _value(answer, "00201208")
    return FoundStudy(uid, day, modalities, int(count) if count.isdigit() else None)


def _value(item: Item, tag: str) -> str:
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0] if values[0] is not None else "").strip()
