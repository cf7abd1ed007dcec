"""Workitems in SQL: one of two wins, what is searched is found, and an event report waits for its receiver."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.endings import end_explicitly
from hulumed_platform.storage.studies import Studies
from hulumed_platform.storage.workitem_events import KEPT_FOR, Events, Subscriptions
from hulumed_platform.storage.workitem_models import Workitem, WorkitemState
from hulumed_platform.storage.workitem_search import Between, Key, Like, Match, OneOf
from hulumed_platform.storage.workitems import Workitems
from tests.storage.rows import NOON, STUDY_UID, after, instance
from tests.support.completing import complete_quiet

LABEL = "00741202"
CODE, SCHEME = "00404025.00080100", "00404025.00080102"


def create(database: Database, uid: str, *keys: Key, tenant: str = "acme", age_s: float = 0) -> Workitem | None:
    with database.session() as session:
        return Workitems(session, tenant).create(uid, {LABEL: {"vr": "LO"}}, keys, after(age_s))


def found(database: Database, *matches: Match, **page: Any) -> list[str]:
    with database.reading() as session:
        return [row.sop_instance_uid for row in Workitems(session, "acme").search(matches, **page)]


def test_a_workitem_is_made_once(database: Database) -> None:
    """The second of the same UID is refused; another tenant has its own."""
    made = create(database, "1.2")
    assert made is not None
    assert (made.state, made.revision, made.transaction_uid) == (WorkitemState.SCHEDULED, 0, None)
    assert create(database, "1.2") is None
    assert create(database, "1.2", tenant="other") is not None
    with database.reading() as session, pytest.raises(PlatformError) as caught:
        Workitems(session, "acme").get("1.3")
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_one_of_many_racing_claimers_wins(database: Database) -> None:
    """Eight performers read the same SCHEDULED row before any of them writes: one gets it, and only its lock stands."""
    create(database, "1.2")
    with database.reading() as session:
        seen = Workitems(session, "acme").get("1.2")
    start = threading.Barrier(8)

    def claim(performer: int) -> bool:
        start.wait()
        with database.session() as session:
            return Workitems(session, "acme").change(
                seen, NOON, state=WorkitemState.IN_PROGRESS, transaction_uid=f"9.{performer}"
            )

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(claim, range(8)))
    assert sum(won) == 1
    with database.reading() as session:
        now = Workitems(session, "acme").get("1.2")
    assert (now.state, now.transaction_uid) == (WorkitemState.IN_PROGRESS, f"9.{won.index(True)}")


def test_wild_cards_match_literally_and_by_case(database: Database) -> None:
    """What is special to LIKE or GLOB is a letter like any other, and SQLite's own LIKE would take a for A."""
    labels = {"1": "CT_100%", "2": "ct-1003", "3": "CT[1]", "4": "C*T", "5": "CTX100%"}
    for uid, label in labels.items():
        create(database, uid, Key(LABEL, "", label), age_s=int(uid))
    assert found(database, Like(LABEL, "CT*")) == ["1", "3", "5"]
    assert found(database, Like(LABEL, "CT_1*")) == ["1"]
    assert found(database, Like(LABEL, "*%")) == ["1", "5"]
    assert found(database, Like(LABEL, "CT[*")) == ["3"]
    assert found(database, Like(LABEL, "ct-100?")) == ["2"]
    assert found(database, OneOf(LABEL, ("C*T", "CT[1]"))) == ["3", "4"]


def test_ranges_include_their_ends(database: Database) -> None:
    """Open at either side too."""
    for day in range(1, 5):
        create(database, f"1.{day}", Key("00404005", "", f"2026030{day}"), age_s=day)
    assert found(database, Between("00404005", "20260302", "20260303")) == ["1.2", "1.3"]
    assert found(database, Between("00404005", None, "20260301")) == ["1.1"]
    assert found(database, Between("00404005", "20260304", None)) == ["1.4"]


def test_keys_of_one_sequence_match_in_one_item(database: Database) -> None:
    """Code A of scheme X and code B of scheme Y are not code A of scheme Y (PS3.4, section C.2.2.2.6)."""
    create(database, "1", Key(CODE, "0", "A"), Key(SCHEME, "0", "X"), Key(CODE, "1", "B"), Key(SCHEME, "1", "Y"))
    assert found(database, OneOf(CODE, ("A",)), OneOf(SCHEME, ("X",))) == ["1"]
    assert found(database, OneOf(CODE, ("A",)), OneOf(SCHEME, ("Y",))) == []


def test_state_and_uid_are_searched_in_the_row(database: Database) -> None:
    """They change without the keys, and any text may be asked for."""
    create(database, "1.1")
    create(database, "1.2")
    with database.session() as session:
        items = Workitems(session, "acme")
        items.change(items.get("1.2"), NOON, state=WorkitemState.IN_PROGRESS)
    assert found(database, OneOf("00741000", ("IN PROGRESS",))) == ["1.2"]
    assert found(database, OneOf("00741000", ("NONSENSE",))) == []
    assert found(database, OneOf("00080018", ("1.1", "1.3"))) == ["1.1"]


def test_pages_do_not_overlap(database: Database) -> None:
    """Oldest first, the same order every time."""
    for number in range(5):
        create(database, f"1.{number}", age_s=number)
    pages = [found(database, limit=2, offset=offset) for offset in (0, 2, 4)]
    assert pages == [["1.0", "1.1"], ["1.2", "1.3"], ["1.4"]]


def test_replaced_keys_find_the_workitem_by_its_new_values_only(database: Database) -> None:
    """An update of the label moves the workitem from one search to the other."""
    create(database, "1", Key(LABEL, "", "OLD"))
    with database.session() as session:
        items = Workitems(session, "acme")
        items.replace_keys(items.get("1"), [Key(LABEL, "", "NEW"), Key(LABEL, "", "NEW")])
    assert found(database, OneOf(LABEL, ("OLD",))) == []
    assert found(database, OneOf(LABEL, ("NEW",))) == ["1"]


def test_what_was_asked_for_one_workitem_goes_before_the_worklist(database: Database) -> None:
    """A lock asked for by name is not lost to a subscription to everything."""
    create(database, "1")
    with database.session() as session:
        item = Workitems(session, "acme").get("1")
        subscriptions = Subscriptions(session, "acme")
        subscriptions.to_workitem(item, "WATCHER", deletion_lock=True)
        assert not subscriptions.keep_or_add(item, "WATCHER", deletion_lock=False)
        assert subscriptions.of_workitem(item) == ["WATCHER"]
        assert subscriptions.from_workitem(item, "WATCHER")
        assert not subscriptions.from_workitem(item, "WATCHER")


def test_the_worklist_has_one_subscription_of_each_kind_for_a_receiver(database: Database) -> None:
    """Asked again, the later filter holds; the other kind and other tenants are untouched."""
    with database.session() as session:
        subscriptions = Subscriptions(session, "acme")
        for value in ("A", "B"):
            subscriptions.to_worklist("WATCHER", filtered=True, filter_={LABEL: value}, deletion_lock=False)
        subscriptions.to_worklist("WATCHER", filtered=False, filter_={}, deletion_lock=True)
        assert [(s.filtered, s.filter) for s in subscriptions.of_worklist() if s.filtered] == [(True, {LABEL: "B"})]
        assert len(subscriptions.of_worklist()) == 2
        assert not Subscriptions(session, "other").suspend("WATCHER", filtered=True)
        assert subscriptions.suspend("WATCHER", filtered=True)
        assert [s.filtered for s in subscriptions.of_worklist()] == [False]


def test_reports_wait_in_order_until_they_are_sent(database: Database) -> None:
    """Each receiver has its own; one that never comes fills the table for a day, not for ever."""
    with database.session() as session:
        events = Events(session, "acme")
        for number in range(3):
            events.add({"number": number}, ["A", "B"], NOON)
        assert [event.content["number"] for event in events.waiting("A")] == [0, 1, 2]
        events.sent([event.id for event in events.waiting("A", limit=2)])
        assert [event.content["number"] for event in events.waiting("A")] == [2]
        assert len(events.waiting("B")) == 3
        assert Events(session, "other").waiting("A") == []
        events.add({"number": 9}, ["C"], NOON + KEPT_FOR + KEPT_FOR)
        assert events.waiting("B") == []


def test_a_sender_ends_a_study_that_is_still_receiving(database: Database) -> None:
    """The word is noted for the worker; not of a study that is further on, or unknown; a late image takes it back."""
    with database.session() as session:
        Studies(session).register(instance(1))
        assert end_explicitly(session, "acme", STUDY_UID, "the sender said so", after(1))
        assert Studies(session).get("acme", STUDY_UID).ended_by == "the sender said so"
        assert not end_explicitly(session, "other", STUDY_UID, "of another tenant", after(3))
        Studies(session).register(instance(2, received_at=after(4)))
        assert Studies(session).get("acme", STUDY_UID).ended_by is None
        complete_quiet(session, after(100), quiet_s=0)
        assert not end_explicitly(session, "acme", STUDY_UID, "again", after(101))
