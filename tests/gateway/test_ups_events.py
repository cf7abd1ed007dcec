"""Subscriptions, and the event reports that come over the WebSocket. PS3.18, 8.10 and 11.10-11.13; PS3.4, CC.2.4."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.worklist import Attributes, WorklistDesk, code, element, open_desk

WORKLIST = "1.2.840.10008.5.1.4.34.5"
FILTERED = "1.2.840.10008.5.1.4.34.5.1"
_NUMBERS = count(1)


@pytest.fixture
def ae_title(desk: WorklistDesk) -> Iterator[str]:
    """A receiver of this test alone; its subscriptions end with the test."""
    name = f"WATCH{next(_NUMBERS)}"
    yield name
    for uid in (WORKLIST, FILTERED):
        unsubscribe(desk, uid, name)


@contextmanager
def channel(desk: WorklistDesk, ae_title: str, path: str = "subscribers") -> Iterator[ClientConnection]:
    """The open notification connection of a receiver."""
    with connect(f"ws{desk.url.removeprefix('http')}/dicom-web/{path}/{ae_title}") as connection:
        yield connection


def subscribe(desk: WorklistDesk, uid: str, ae_title: str, query: str = "") -> httpx.Response:
    return desk.post(f"workitems/{uid}/subscribers/{ae_title}{query}")


def unsubscribe(desk: WorklistDesk, uid: str, ae_title: str) -> int:
    return desk.http.delete(f"/dicom-web/workitems/{uid}/subscribers/{ae_title}").status_code


def next_report(connection: ClientConnection) -> Attributes:
    report = json.loads(connection.recv(timeout=20))
    assert isinstance(report, dict)
    assert report["00000002"]["Value"] == ["1.2.840.10008.5.1.4.34.6.1"]
    assert report["00000110"]["vr"] == "US"
    return report


def seen(connection: ClientConnection) -> tuple[str, int, str | None]:
    """UID, event type and state of the next report."""
    report = next_report(connection)
    state = report.get("00741000", {}).get("Value", [None])[0]
    return report["00001000"]["Value"][0], report["00001002"]["Value"][0], state


def is_silent(connection: ClientConnection) -> bool:
    try:
        connection.recv(timeout=1.2)
    except TimeoutError:
        return True
    return False


def test_a_subscriber_hears_of_every_change(desk: WorklistDesk, ae_title: str) -> None:
    """The state at first and after each change, progress on the way, and it is told where to listen."""
    uid = desk.create()
    with channel(desk, ae_title) as connection:
        response = subscribe(desk, uid, ae_title)
        assert response.status_code == 201
        assert response.headers["content-location"] == f"ws{desk.url[4:]}/dicom-web/subscribers/{ae_title}"
        first = next_report(connection)
        assert (first["00741000"], first["00404041"]) == (element("CS", "SCHEDULED"), element("CS", "READY"))
        transaction = desk.claim(uid)
        assert seen(connection) == (uid, 1, "IN PROGRESS")
        progress = element("SQ", {"00741004": element("DS", 50)})
        assert desk.post(f"workitems/{uid}?transaction-uid={transaction}", {"00741002": progress}).status_code == 200
        report = next_report(connection)
        assert (report["00001002"]["Value"], report["00741002"]) == ([3], progress)
        desk.complete(uid, transaction)
        assert seen(connection) == (uid, 1, "COMPLETED")
        assert unsubscribe(desk, uid, ae_title) == 200
        assert transaction not in json.dumps(report)
        assert is_silent(connection)


def test_the_performer_hears_of_a_request_for_cancellation(desk: WorklistDesk, ae_title: str) -> None:
    """Who asks, and why; it is the performer's to cancel."""
    uid = desk.create()
    transaction = desk.claim(uid)
    subscribe(desk, uid, ae_title)
    with channel(desk, ae_title, "ws/subscribers") as connection:
        assert seen(connection) == (uid, 1, "IN PROGRESS")
        reason = {"00741238": element("LT", "Wrong side"), "0074100C": element("LO", "Ward 3")}
        assert desk.post(f"workitems/{uid}/cancelrequest/SCHEDULER", reason).status_code == 202
        report = next_report(connection)
        assert report["00001002"]["Value"] == [2]
        assert report["00741236"] == element("AE", "SCHEDULER")
        assert {tag: report[tag] for tag in reason} == reason
        assert desk.change(uid, "CANCELED", transaction).status_code == 200
        ended = next_report(connection)
        assert ended["00741000"]["Value"] == ["CANCELED"]
        assert ended["0074100E"]["Value"][0]["00080100"]["Value"] == ["110513"]


def test_cancellation_of_a_scheduled_workitem_is_told_step_by_step(desk: WorklistDesk, ae_title: str) -> None:
    """First IN PROGRESS, then CANCELED (PS3.4, section CC.2.2.3)."""
    uid = desk.create()
    subscribe(desk, uid, ae_title)
    desk.post(f"workitems/{uid}/cancelrequest")
    with channel(desk, ae_title) as connection:
        states = [seen(connection)[2] for _ in range(3)]
    assert states == ["SCHEDULED", "IN PROGRESS", "CANCELED"]


def test_what_happened_while_the_receiver_was_away_comes_when_it_is_back(desk: WorklistDesk, ae_title: str) -> None:
    """A connection that broke loses nothing: the reports wait in SQL."""
    uid = desk.create()
    with channel(desk, ae_title) as connection:
        subscribe(desk, uid, ae_title)
        assert seen(connection) == (uid, 1, "SCHEDULED")
    desk.claim(uid)
    with channel(desk, ae_title) as connection:
        assert seen(connection) == (uid, 1, "IN PROGRESS")
        assert is_silent(connection), "by now it is noted as sent"
    with channel(desk, ae_title) as connection:
        assert is_silent(connection), "a report that was sent does not come again"


def test_the_worklist_tells_of_what_is_new(desk: WorklistDesk, ae_title: str) -> None:
    """And of the workitems that were there, from the next change on; assigned work is told of as such."""
    old = desk.create()
    assert subscribe(desk, WORKLIST, ae_title).status_code == 201
    with channel(desk, ae_title) as connection:
        stations = element("SQ", code("CT1"))
        new = desk.create(t00404025=stations)
        assert seen(connection) == (new, 1, "SCHEDULED")
        report = next_report(connection)
        assert (report["00001002"]["Value"], report["00404025"]) == ([5], stations)
        desk.claim(old)
        assert seen(connection) == (old, 1, "IN PROGRESS")


def test_a_deletion_lock_brings_the_present_state_of_all(desk: WorklistDesk, ae_title: str) -> None:
    """PS3.4, section CC.2.4.3: a report for every workitem that is managed."""
    uid = desk.create()
    subscribe(desk, FILTERED, ae_title, f"?deletionlock=true&filter=SOPInstanceUID={uid}")
    with channel(desk, ae_title) as connection:
        assert seen(connection) == (uid, 1, "SCHEDULED")
        assert is_silent(connection)


@pytest.mark.parametrize("form", ["?filter=WorklistLabel={0},ProcedureStepLabel=Mine*", "?WorklistLabel={0}"])
def test_a_filter_tells_of_what_matches(desk: WorklistDesk, ae_title: str, form: str) -> None:
    """In the form of today and in that of before 2019; matching is that of a search."""
    label = f"FILTER-{ae_title}"
    assert subscribe(desk, FILTERED, ae_title, form.format(label)).status_code == 201
    with channel(desk, ae_title) as connection:
        desk.create()
        mine = desk.create(t00741202=element("LO", label), t00741204=element("LO", "Mine too"))
        assert seen(connection) == (mine, 1, "SCHEDULED")
        assert is_silent(connection)


def test_a_suspended_subscription_keeps_what_it_has(desk: WorklistDesk, ae_title: str) -> None:
    """No new workitems, the old ones as before; unsubscribing ends those too."""
    subscribe(desk, WORKLIST, ae_title)
    with channel(desk, ae_title) as connection:
        old = desk.create()
        assert seen(connection)[0] == old
        assert desk.post(f"workitems/{WORKLIST}/subscribers/{ae_title}/suspend").status_code == 200
        assert desk.post(f"workitems/{WORKLIST}/subscribers/{ae_title}/suspend").status_code == 404
        desk.create()
        desk.claim(old)
        assert seen(connection) == (old, 1, "IN PROGRESS")
        assert unsubscribe(desk, WORKLIST, ae_title) == 200
        assert unsubscribe(desk, WORKLIST, ae_title) == 404


def test_unknown_subscriptions_are_not_found(desk: WorklistDesk, ae_title: str) -> None:
    """404, not 200 (dcm4chee #3765)."""
    uid = desk.create()
    assert unsubscribe(desk, uid, ae_title) == 404
    assert unsubscribe(desk, WORKLIST, ae_title) == 404
    assert desk.post(f"workitems/{uid}/subscribers/{ae_title}/suspend").status_code == 400


@pytest.mark.parametrize(
    ("uid", "ae_title", "query"),
    [
        (WORKLIST, "A" * 17, ""),
        (WORKLIST, "A%5CB", ""),
        (WORKLIST, "%20%20", ""),
        (WORKLIST, "%C3%84", ""),
        (WORKLIST, "A", "?deletionlock=yes"),
        (FILTERED, "A", ""),
        (FILTERED, "A", "?filter=nonsense=1"),
        (FILTERED, "A", "?filter=TransactionUID=1.2"),
    ],
)
def test_malformed_subscriptions_are_refused(desk: WorklistDesk, uid: str, ae_title: str, query: str) -> None:
    """400: a filter that is no filter would tell of nothing, or of everything."""
    assert subscribe(desk, uid, ae_title, query).status_code == 400


def test_a_channel_needs_an_ae_title(desk: WorklistDesk) -> None:
    """The handshake is refused."""
    with pytest.raises(InvalidStatus), channel(desk, "A" * 17):
        pytest.fail("the channel opened")


def test_many_channels_come_and_go(desk: WorklistDesk, ae_title: str) -> None:
    """Each that leaves ends its watch: the gateway works on, and the last one is served."""
    for _ in range(20):
        with channel(desk, ae_title):
            pass
    uid = desk.create()
    subscribe(desk, uid, ae_title)
    with channel(desk, ae_title) as connection:
        connection.send("what a receiver says is not listened to")
        started = datetime.now(UTC)
        assert seen(connection) == (uid, 1, "SCHEDULED")
        assert (datetime.now(UTC) - started).total_seconds() < 5


def test_a_gateway_that_stops_closes_its_channels(tmp_path: Path) -> None:
    """A receiver that never leaves does not hold a pod up: it is told to come back (RFC 6455, code 1012)."""
    with ExitStack() as stack:
        with open_desk(f"sqlite:///{tmp_path / 'hulumed.sqlite'}", tmp_path) as desk:
            connection = stack.enter_context(channel(desk, "WATCHER"))
            subscribe(desk, desk.create(), "WATCHER")
            next_report(connection)
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
