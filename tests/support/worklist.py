"""A real gateway on loopback with nothing behind it but SQL and objects: no model is needed for worklists."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from pydicom.uid import generate_uid

from hulumed_platform.gateway.app import create_app
from hulumed_platform.gateway.dependencies import Door
from hulumed_platform.gateway.server import open_door
from hulumed_platform.gateway.settings import GatewaySettings
from hulumed_platform.storage.database import Database
from tests.support.postgres import Postgres
from tests.support.processes import free_ports

Attributes = dict[str, Any]
_DICOM_JSON = {"Content-Type": "application/dicom+json"}


def element(vr: str, *values: Any) -> Attributes:
    """An element of the DICOM JSON model."""
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def code(value: str, scheme: str = "99TEST") -> Attributes:
    """An item of a code sequence."""
    return {"00080100": element("SH", value), "00080102": element("SH", scheme), "00080104": element("LO", value)}


def workitem(**changes: Attributes | None) -> Attributes:
    """A new workitem that has what PS3.4, table CC.2.5-3, asks for; changes are by tag, `t00741204=…`; None removes."""
    empty_sequences = ("00741210", "00404026", "00404027", "00404018", "00404021", "00100024", "00101002", "00380014")
    attributes: Attributes = {
        "00081195": element("UI"),
        "00741000": element("CS", "SCHEDULED"),
        "00741200": element("CS", "MEDIUM"),
        "00741202": element("LO", "AI"),
        "00741204": element("LO", "Read the chest"),
        "00404005": element("DT", "20260301120000+0000"),
        "00404041": element("CS", "READY"),
        "00404025": element("SQ"),
        "00400400": element("LT"),
        "00100010": element("PN", {"Alphabetic": "DOE^JANE"}),
        "00100020": element("LO", "P-1"),
        "00100021": element("LO"),
        "00100030": element("DA", "19700101"),
        "00100040": element("CS", "F"),
        "00380010": element("LO"),
        "00081080": element("LO"),
        "00081084": element("SQ"),
        "0040A370": element("SQ"),
        "00741002": element("SQ"),
        "00741216": element("SQ"),
        **{tag: element("SQ") for tag in empty_sequences},
    }
    attributes |= {name.removeprefix("t"): value for name, value in changes.items()}
    return {tag: value for tag, value in attributes.items() if value is not None}


PERFORMED: Attributes = {
    "00741216": element(
        "SQ",
        {
            "00404028": element("SQ", code("STATION")),
            "00404050": element("DT", "20260301120100"),
            "00404019": element("SQ", code("READ")),
            "00404051": element("DT", "20260301120200"),
            "00404033": element("SQ"),
        },
    )
}
"""What a performer tells before a workitem can be COMPLETED."""


@dataclass(frozen=True)
class WorklistDesk:
    """A gateway that listens, and the transactions of PS3.18, section 11, as a client makes them."""

    url: str
    door: Door
    http: httpx.Client

    def create(self, uid: str | None = None, /, **changes: Attributes | None) -> str:
        """Create a workitem and return its UID."""
        uid = uid or generate_uid()
        response = self.http.post(f"/dicom-web/workitems?{uid}", json=workitem(**changes), headers=_DICOM_JSON)
        assert response.status_code == 201, response.text
        return uid

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """POST a data set, or nothing."""
        if body is None:
            return self.http.post(f"/dicom-web/{path}", headers=headers)
        return self.http.post(f"/dicom-web/{path}", json=body, headers={**_DICOM_JSON, **headers})

    def get(self, path: str, **headers: str) -> httpx.Response:
        """GET a resource."""
        return self.http.get(f"/dicom-web/{path}", headers=headers)

    def shown(self, uid: str) -> Attributes:
        """The workitem as it is now."""
        response = self.get(f"workitems/{uid}")
        assert response.status_code == 200, response.text
        (data_set,) = response.json()
        return dict(data_set)

    def state(self, uid: str) -> str:
        """Its Procedure Step State."""
        return str(self.shown(uid)["00741000"]["Value"][0])

    def change(self, uid: str, state: str | None, transaction: str | None) -> httpx.Response:
        """Ask for a change of the state."""
        body = {}
        if state is not None:
            body["00741000"] = element("CS", state)
        if transaction is not None:
            body["00081195"] = element("UI", transaction)
        return self.http.put(f"/dicom-web/workitems/{uid}/state", json=body, headers=_DICOM_JSON)

    def claim(self, uid: str) -> str:
        """Claim a workitem and return the Transaction UID."""
        transaction = generate_uid()
        response = self.change(uid, "IN PROGRESS", transaction)
        assert response.status_code == 200, response.text
        return transaction

    def complete(self, uid: str, transaction: str) -> None:
        """Tell what was performed, and complete."""
        assert self.post(f"workitems/{uid}?transaction-uid={transaction}", PERFORMED).status_code == 200
        response = self.change(uid, "COMPLETED", transaction)
        assert response.status_code == 200, response.text

    def search(self, **query: str) -> list[str]:
        """UIDs of the workitems that match, in the order they come; names with dots have `__` in place of one."""
        parameters = {name.replace("__", "."): value for name, value in query.items()}
        response = self.http.get("/dicom-web/workitems", params=parameters)
        assert response.status_code in (200, 204), response.text
        if response.status_code == 204:
            return []
        return [item["00080018"]["Value"][0] for item in response.json()]


@contextmanager
def serving(door: Door) -> Iterator[str]:
    """Serve the door's app from a thread; yields its address."""
    settings = door.settings
    server = uvicorn.Server(uvicorn.Config(create_app(door), host=settings.host, port=settings.port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "uvicorn did not start"
    try:
        yield f"http://{settings.host}:{settings.port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def open_desk(database_url: str, folder: Path) -> Iterator[WorklistDesk]:
    """A gateway on this database; nobody listens where its decoder should be."""
    database = Database(database_url)
    database.migrate()
    database.close()
    settings = GatewaySettings(
        host="127.0.0.1",
        port=free_ports(1)[0],
        decoder_address=f"127.0.0.1:{free_ports(1)[0]}",
        database_url=database_url,
        objects_url=(folder / "objects").as_uri(),
        scratch_dir=folder,
    )
    with open_door(settings) as door, serving(door) as url, httpx.Client(base_url=url, timeout=60) as http:
        yield WorklistDesk(url, door, http)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorklistDesk]:
    """One for the session on each database."""
    folder = tmp_path_factory.mktemp("worklist")
    if request.param == "sqlite":
        database_url = f"sqlite:///{folder / 'hulumed.sqlite'}"
    else:
        server: Postgres = request.getfixturevalue("postgres")
        database_url = server.create_database()
    with open_desk(database_url, folder) as opened:
        yield opened
