"""Searching workitems: matched, paged, and each with the address of the whole. Rules: PS3.18, sections 8.3.4, 11.9."""

from itertools import count

import pytest

from tests.support.worklist import Attributes, WorklistDesk, code, element

_NUMBERS = count(1)


@pytest.fixture
def label() -> str:
    """A Worklist Label of this test alone, so that it finds its own workitems only."""
    return f"LIST{next(_NUMBERS)}"


def create(desk: WorklistDesk, label: str, **changes: Attributes | None) -> str:
    return desk.create(t00741202=element("LO", label), **changes)


def test_nothing_found_is_no_content(desk: WorklistDesk) -> None:
    """204, without a body."""
    response = desk.get("workitems?WorklistLabel=NOSUCHLIST")
    assert (response.status_code, response.content) == (204, b"")


def test_a_result_has_its_return_keys_and_its_address(desk: WorklistDesk, label: str) -> None:
    """The address holds the UID (dcm4chee #4376); keys that are not asked for stay out."""
    uid = create(desk, label, t00400400=element("LT", "A comment"))
    (result,) = desk.get(f"workitems?00741202={label}").json()
    assert result["00081190"] == element("UR", f"{desk.url}/dicom-web/workitems/{uid}")
    assert desk.http.get(result["00081190"]["Value"][0]).json()[0]["00080018"]["Value"] == [uid]
    for tag in ("00080016", "00080018", "00100010", "00404005", "00404041", "00741000", "00741200", "00741204"):
        assert tag in result
    assert "00400400" not in result
    for query in ("includefield=00400400", "includefield=WorklistLabel,CommentsOnTheScheduledProcedureStep"):
        (result,) = desk.get(f"workitems?WorklistLabel={label}&{query}").json()
        assert result["00400400"]["Value"] == ["A comment"]
    (result,) = desk.get(f"workitems?WorklistLabel={label}&includefield=all").json()
    assert {"00400400", "00741216"} <= set(result)


def test_state_priority_and_patient_are_matched(desk: WorklistDesk, label: str) -> None:
    """Names whatever the case, all else exactly; an empty value matches everything."""
    high = create(desk, label, t00741200=element("CS", "HIGH"))
    other = create(desk, label, t00100010=element("PN", {"Alphabetic": "ROE^RICHARD", "Ideographic": "山田^太郎"}))
    desk.claim(high)
    assert desk.search(WorklistLabel=label, ProcedureStepState="IN PROGRESS") == [high]
    assert desk.search(WorklistLabel=label, ProcedureStepState="SCHEDULED") == [other]
    assert desk.search(WorklistLabel=label, ScheduledProcedureStepPriority="HIGH") == [high]
    assert desk.search(WorklistLabel=label, PatientName="roe^richard") == [other]
    assert desk.search(WorklistLabel=label, PatientName="Roe*") == [other]
    assert desk.search(WorklistLabel=label, PatientName="山田*") == [other]
    assert desk.search(WorklistLabel=label, PatientID="p-1") == []
    assert desk.search(WorklistLabel=label, PatientID="", PatientSex="*") == [high, other]
    assert desk.search(WorklistLabel=label, SOPInstanceUID=f"{high},1.2.3") == [high]
    assert desk.search(WorklistLabel=label, somethingelse="5") == [high, other]


@pytest.mark.parametrize(
    ("value", "days"),
    [
        ("20260302", [2]),
        ("202603", [1, 2, 3]),
        ("20260302-", [2, 3]),
        ("-20260302", [1, 2]),
        ("20260301-20260302", [1, 2]),
        ("20260302120000-20260303", [2, 3]),
        ("20260302120000", [2]),
        ("20260302120001-20260303115959", []),
        ("20260302130000+0100", [2]),
        ("20260302070000-0500", [2]),
        ("20260302070000-0500-20260302130000.9+0100", [2]),
        ("20260302120000.0-20260302120000.5", [2]),
        ("2026-2027", [1, 2, 3]),
    ],
)
def test_times_match_as_values_and_ranges(desk: WorklistDesk, value: str, days: list[int]) -> None:
    """A value stands for all of its day; a hyphen may be a range or the zone (PS3.4, section C.2.2.2.5)."""
    label = f"DAYS{value}"[:60]
    made = {
        day: create(desk, label, t00404005=element("DT", text))
        for day, text in {1: "20260301120000+0000", 2: "20260302120000", 3: "20260303130000+0100"}.items()
    }
    found = desk.search(WorklistLabel=label, ScheduledProcedureStepStartDateTime=value)
    assert found == [made[day] for day in days]


def test_sequences_are_matched_by_path_within_one_item(desk: WorklistDesk, label: str) -> None:
    """By tags or keywords; code and scheme are of the same code."""
    uid = create(desk, label, t00404025=element("SQ", code("CT1", "99A"), code("CT2", "99B")))
    path = "ScheduledStationNameCodeSequence__CodeValue"
    assert desk.search(WorklistLabel=label, **{path: "CT2"}) == [uid]
    assert desk.search(WorklistLabel=label, **{"00404025__00080100": "CT?"}) == [uid]
    scheme = "ScheduledStationNameCodeSequence__CodingSchemeDesignator"
    assert desk.search(WorklistLabel=label, **{path: "CT1", scheme: "99A"}) == [uid]
    assert desk.search(WorklistLabel=label, **{path: "CT1", scheme: "99B"}) == []
    assert desk.search(WorklistLabel=label, ScheduledStationNameCodeSequence="") == [uid]


def test_an_update_is_found_by_its_new_values(desk: WorklistDesk, label: str) -> None:
    """And by the old ones no more."""
    uid = create(desk, label)
    desk.post(f"workitems/{uid}", {"00741204": element("LO", "Another step")})
    assert desk.search(WorklistLabel=label, ProcedureStepLabel="Another*") == [uid]
    assert desk.search(WorklistLabel=label, ProcedureStepLabel="Read*") == []


def test_pages_are_disjoint_and_the_rest_is_announced(desk: WorklistDesk, label: str) -> None:
    """Without a limit of the client's own, a cut is told of; a page past the end is empty."""
    made = [create(desk, label) for _ in range(5)]
    pages = [desk.search(WorklistLabel=label, limit="2", offset=str(offset)) for offset in (0, 2, 4, 6)]
    assert pages == [made[:2], made[2:4], made[4:], []]
    assert desk.search(WorklistLabel=label, limit="0") == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=many",
        "offset=1.5",
        "limit=" + "9" * 5000,
        "fuzzymatching=perhaps",
        "ScheduledProcedureStepStartDateTime=tomorrow",
        "ScheduledProcedureStepStartDateTime=20261301",
        "ScheduledProcedureStepStartDateTime=20260301-20260302-20260303",
        "PatientBirthDate=1970",
        "TransactionUID=1.2.3",
        "00081195=1.2.3",
        "ScheduledStationNameCodeSequence=CT1",
    ],
)
def test_malformed_values_are_refused(desk: WorklistDesk, query: str) -> None:
    """400, never 500; a lock cannot be guessed by searching."""
    response = desk.get(f"workitems?{query}")
    assert response.status_code == 400, response.text


def test_fuzzy_matching_is_not_done_and_that_is_told(desk: WorklistDesk, label: str) -> None:
    """In the standard's words; the results are those of literal matching."""
    create(desk, label)
    response = desk.get(f"workitems?WorklistLabel={label}&fuzzymatching=true&PatientName=doe*")
    assert len(response.json()) == 1
    expected = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
    assert response.headers["warning"] == f"299 {desk.url}/dicom-web: {expected}"


@pytest.mark.parametrize("value", ["%", "_", "[a-z]*", "'; DROP TABLE workitems; --", "\\", "\x00", "*" * 200 + "x"])
def test_hostile_values_find_nothing_and_break_nothing(desk: WorklistDesk, label: str, value: str) -> None:
    """Neither SQL nor patterns of it come through."""
    create(desk, label)
    response = desk.http.get("/dicom-web/workitems", params={"WorklistLabel": value})
    assert response.status_code in (204, 400), response.text
    assert len(desk.search(WorklistLabel=label)) == 1
