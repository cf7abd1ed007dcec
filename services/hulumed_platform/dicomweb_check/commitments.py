"""A client of the storage commitment service (PS3.18, chapter 13)."""

import json
import time
from collections.abc import Iterable

from hulumed_platform.dicomweb_check.server import DICOM_JSON, Answer, Server
from hulumed_platform.dicomweb_check.workitems import Attributes, element

_POLLS = 10
_POLL_S = 1.0
Reference = tuple[str, str]
"""SOP Class UID and SOP Instance UID."""


class Commitments:
    """Requests to commit to the storage of instances."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._as_array: bool | None = None

    def request(self, transaction: str, references: Iterable[Reference]) -> Answer:
        """Ask, and take the answer as it comes: 200 with the result, or 202 when it takes time."""
        items = [
            {"00081150": element("UI", sop_class), "00081155": element("UI", sop)} for sop_class, sop in references
        ]
        payload = {"00081199": element("SQ", *items)}
        answer = self.send(transaction, [payload] if self._as_array is not False else payload)
        if self._as_array is None and answer.status == 400:
            bare = self.send(transaction, payload)
            self._as_array = False if bare.ok else None
            return bare if bare.ok else answer
        self._as_array = self._as_array is not False
        return answer

    def send(self, transaction: str, payload: object) -> Answer:
        """Send a payload that may be anything."""
        headers = {"Content-Type": DICOM_JSON, "Accept": DICOM_JSON}
        path = f"/commitment-requests/{transaction}"
        return self._server.request("POST", path, content=json.dumps(payload).encode(), headers=headers)

    def result(self, transaction: str, answer: Answer) -> Answer:
        """The result, polled for up to ten seconds where the first answer is 202."""
        for _ in range(_POLLS):
            if answer.status != 202:
                break
            time.sleep(_POLL_S)
            answer = self.check(transaction)
        return answer

    def check(self, transaction: str) -> Answer:
        """Look at the result of a request."""
        return self._server.get(f"/commitment-requests/{transaction}")


def items(result: Attributes, tag: str) -> list[Attributes]:
    """The items of a sequence, none where it is absent."""
    return list(result.get(tag, {}).get("Value", []))
