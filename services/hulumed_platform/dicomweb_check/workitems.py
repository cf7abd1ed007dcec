"""A client of the worklist service, UPS-RS (PS3.18, chapter 11)."""

import json
from datetime import UTC, datetime
from typing import Any

from hulumed_platform.dicomweb_check.server import DICOM_JSON, Answer, Server
from hulumed_platform.dicomweb_check.synthetic import new_uid
from hulumed_platform.dicomweb_check.verdict import DeviationError

Attributes = dict[str, dict[str, Any]]
"""A data set in the DICOM JSON model (PS3.18, annex F)."""

STATE = "00741000"
TRANSACTION_UID = "00081195"


class Workitems:
    """Workitems of one run."""

    def __init__(self, server: Server, patient_id: str) -> None:
        self._server = server
        self._patient_id = patient_id
        self._as_array: bool | None = None
        self._created: dict[str, str] = {}

    def create(self, uid: str, **changes: dict[str, Any] | None) -> Answer:
        """Create a workitem; changes are by tag (`t00741000=…`), and None removes the attribute."""
        attributes = scheduled(self._patient_id)
        for name, element in changes.items():
            attributes.pop(name[1:], None)
            if element is not None:
                attributes[name[1:]] = element
        answer = self._send("POST", f"/workitems?{uid}", attributes)
        if answer.ok:
            self._created.setdefault(uid, "")
        return answer

    def new(self) -> str:
        """The UID of a workitem that was just created.

        Raises:
            DeviationError: it cannot be created.
        """
        uid = new_uid()
        answer = self.create(uid)
        if answer.status != 201:
            raise DeviationError(f"a workitem cannot be created: {answer}")
        return uid

    def claimed(self) -> tuple[str, str]:
        """The UID of a new workitem in progress, and its Transaction UID.

        Raises:
            DeviationError: it cannot be created or claimed.
        """
        uid, transaction = self.new(), new_uid()
        answer = self.change_state(uid, "IN PROGRESS", transaction)
        if answer.status != 200:
            raise DeviationError(f"a new workitem cannot be claimed: {answer}")
        return uid, transaction

    def completed(self) -> tuple[str, str]:
        """The UID of a new workitem that was completed as it should be, and its Transaction UID.

        Raises:
            DeviationError: a step on the way there is refused.
        """
        uid, transaction = self.claimed()
        answer = self.update(uid, performed(), f"transaction-uid={transaction}")
        if answer.ok:
            answer = self.change_state(uid, "COMPLETED", transaction)
        if answer.status != 200:
            raise DeviationError(f"a claimed workitem cannot be completed: {answer}")
        return uid, transaction

    def change_state(self, uid: str, state: str, transaction: str | None) -> Answer:
        """Ask for a state; `transaction` None leaves the Transaction UID out."""
        attributes = {STATE: element("CS", state)}
        if transaction is not None:
            attributes[TRANSACTION_UID] = element("UI", transaction)
        answer = self._send("PUT", f"/workitems/{uid}/state", attributes)
        if answer.ok and transaction is not None:
            self._created[uid] = transaction
        return answer

    def update(self, uid: str, attributes: Attributes, query: str = "") -> Answer:
        """Change attributes of a workitem."""
        return self._send("POST", f"/workitems/{uid}" + (f"?{query}" if query else ""), attributes)

    def request_cancel(self, uid: str) -> Answer:
        """Ask its performer to cancel it."""
        return self._server.request("POST", f"/workitems/{uid}/cancelrequest", headers={"Accept": DICOM_JSON})

    def subscribe(self, uid: str, ae_title: str) -> Answer:
        """Subscribe to the events of a workitem."""
        return self._server.request("POST", _subscription(uid, ae_title), headers={"Accept": DICOM_JSON})

    def unsubscribe(self, uid: str, ae_title: str) -> Answer:
        """End a subscription."""
        return self._server.request("DELETE", _subscription(uid, ae_title), headers={"Accept": DICOM_JSON})

    def get(self, uid: str) -> Answer:
        """The workitem as it is."""
        return self._server.get(f"/workitems/{uid}")

    def state(self, uid: str) -> str:
        """The Procedure Step State of a workitem, empty where none is shown."""
        values = one(self.get(uid)).get(STATE, {}).get("Value", [])
        return str(values[0]) if values else ""

    def clean(self) -> None:
        """End what is open: workitems cannot be deleted."""
        for uid, transaction in self._created.items():
            if transaction:
                self.change_state(uid, "CANCELED", transaction)
            else:
                self.request_cancel(uid)

    def _send(self, method: str, path: str, attributes: Attributes) -> Answer:
        """Send a data set in an array, as F.2.1 has it, or bare where a server takes nothing else."""
        if self._as_array is None:
            answer = self._post(method, path, [attributes])
            if answer.status != 400:
                self._as_array = True
                return answer
            bare = self._post(method, path, attributes)
            self._as_array = False if bare.ok else None
            return bare if bare.ok else answer
        return self._post(method, path, [attributes] if self._as_array else attributes)

    def _post(self, method: str, path: str, payload: object) -> Answer:
        headers = {"Content-Type": DICOM_JSON, "Accept": DICOM_JSON}
        return self._server.request(method, path, content=json.dumps(payload).encode(), headers=headers)


def _subscription(uid: str, ae_title: str) -> str:
    return f"/workitems/{uid}/subscribers/{ae_title}"


def element(vr: str, *values: object) -> dict[str, Any]:
    """An element of the DICOM JSON model; without values it is empty."""
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def one(answer: Answer) -> Attributes:
    """The single data set of an answer, bare or in an array.

    Raises:
        DeviationError: there is not exactly one.
    """
    found = answer.json()
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not answer.ok or not isinstance(found, dict):
        raise DeviationError(f"{answer}; one data set was expected")
    return found


def scheduled(patient_id: str) -> Attributes:
    """All that N-CREATE must have (PS3.4, table CC.2.5-3)."""
    empty = {
        "SQ": ("00741210", "00404025", "00404026", "00404027", "00404034", "00404021", "00741002", "00741216",
               "00380014", "00081084", "0040A370", "00100024", "00101002"),
        "LO": ("00380010", "00081080", "00100021"),
        "DA": ("00100030",),
        "CS": ("00100040",),
        "LT": ("00400400",),
    }  # fmt: skip
    attributes = {tag: element(vr) for vr, tags in empty.items() for tag in tags}
    attributes |= {
        TRANSACTION_UID: element("UI"),
        STATE: element("CS", "SCHEDULED"),
        "00741200": element("CS", "LOW"),
        "00741202": element("LO", "DICOMweb check"),
        "00741204": element("LO", "DICOMweb check"),
        "00404005": element("DT", "20200115103000"),
        "00404041": element("CS", "READY"),
        "00404018": element("SQ", _code("DWCHECK", "DICOMweb check")),
        "00100010": element("PN", {"Alphabetic": "Check^Dicomweb"}),
        "00100020": element("LO", patient_id),
        "0020000D": element("UI", new_uid()),
    }
    return attributes


def performed() -> Attributes:
    """What must be known of a workitem before it may be completed (PS3.4, table CC.2.5-3, final state)."""
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    procedure = {
        "00404028": element("SQ", _code("DWCHECK", "DICOMweb check")),
        "00404050": element("DT", now),
        "00404019": element("SQ", _code("DWCHECK", "DICOMweb check")),
        "00404051": element("DT", now),
        "00404033": element("SQ"),
    }
    return {"00741216": element("SQ", procedure)}


def _code(value: str, meaning: str) -> Attributes:
    return {
        "00080100": element("SH", value),
        "00080102": element("SH", "99DWCHECK"),
        "00080104": element("LO", meaning),
    }
