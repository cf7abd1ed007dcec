"""UPS-RS: made, claimed by one, changed by its holder, ended as it must be. Rules: PS3.18, section 11."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import generate_uid
from pydicom.valuerep import STANDARD_VR

from tests.support.worklist import PERFORMED, Attributes, WorklistDesk, code, element, workitem


def warning(response: httpx.Response) -> str:
    return str(response.headers.get("warning", ""))


def test_a_workitem_is_created_where_the_client_wants_it(desk: WorklistDesk) -> None:
    """201, both addresses, no body; and it is there, SCHEDULED."""
    uid = generate_uid()
    response = desk.post(f"workitems?{uid}", workitem())
    url = f"{desk.url}/dicom-web/workitems/{uid}"
    assert (response.status_code, response.content) == (201, b"")
    assert (response.headers["location"], response.headers["content-location"]) == (url, url)
    shown = httpx.get(url, timeout=30)
    assert shown.headers["content-type"] == "application/dicom+json"
    assert shown.json()[0]["00741000"]["Value"] == ["SCHEDULED"]
    assert shown.json()[0]["00080018"]["Value"] == [uid]
    assert shown.json()[0]["00080016"]["Value"] == ["1.2.840.10008.5.1.4.34.6.1"]


@pytest.mark.parametrize("how", ["?AffectedSOPInstanceUID={}", "?workitem={}", "00080018", "00001000", "array", ""])
def test_the_uid_comes_by_query_by_data_set_or_is_made(desk: WorklistDesk, how: str) -> None:
    """The spellings that clients have, one data set alone or in an array, and none at all."""
    uid = generate_uid()
    body = workitem(**({f"t{how}": element("UI", uid)} if how[:4].isdigit() else {}))
    if how == "array":
        response = desk.post(f"workitems?{uid}", [body])
    else:
        response = desk.post("workitems" + (how.format(uid) if "?" in how else ""), body)
    assert response.status_code == 201, response.text
    made = response.headers["location"].rsplit("/", 1)[1]
    assert desk.state(made) == "SCHEDULED"
    assert (made == uid) is bool(how)
    assert "00001000" not in desk.shown(made)


def test_a_uid_is_taken_once(desk: WorklistDesk) -> None:
    """409, and the first one stays as it is."""
    uid = desk.create(t00741204=element("LO", "First"))
    assert desk.post(f"workitems?{uid}", workitem(t00741204=element("LO", "Second"))).status_code == 409
    assert desk.shown(uid)["00741204"]["Value"] == ["First"]


def test_two_uids_or_a_malformed_one_are_refused(desk: WorklistDesk) -> None:
    """A workitem under the one and not under the other would be lost to its maker."""
    assert desk.post("workitems?1.2.3", workitem(t00080018=element("UI", "1.2.4"))).status_code == 400
    assert desk.post("workitems?../etc", workitem()).status_code == 400


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"t00741204": None}, "ProcedureStepLabel"),
        ({"t00741200": element("CS")}, "ScheduledProcedureStepPriority"),
        ({"t00741200": element("CS", "URGENT")}, "ScheduledProcedureStepPriority"),
        ({"t00404005": None}, "ScheduledProcedureStepStartDateTime"),
        ({"t00404041": None}, "InputReadinessState"),
        ({"t00741202": None}, "WorklistLabel"),
        ({"t0040A370": None, "t00404021": None}, "ReferencedRequestSequence"),
        ({"t00741000": None}, "Procedure Step State"),
        ({"t00741000": element("CS", "IN PROGRESS")}, "SCHEDULED"),
        ({"t00081195": element("UI", "1.2")}, "TransactionUID"),
        ({"t00741216": PERFORMED["00741216"]}, "UnifiedProcedureStepPerformedProcedureSequence"),
        ({"t0040A370": element("SQ", {})}, "StudyInstanceUID"),
        ({"t00404034": element("SQ", {})}, "HumanPerformerCodeSequence"),
    ],
)
def test_what_a_new_workitem_must_have_is_named(desk: WorklistDesk, changes: Attributes, named: str) -> None:
    """PS3.4, table CC.2.5-3, column N-CREATE; all that is missing is named at once, and nothing is stored."""
    uid = generate_uid()
    response = desk.post(f"workitems?{uid}", workitem(**changes))
    assert response.status_code == 400, response.text
    assert named in response.json()["error"]["message"]
    assert desk.get(f"workitems/{uid}").status_code == 404


def test_an_empty_worklist_label_is_filled_in_and_told(desk: WorklistDesk) -> None:
    """Type 2/1: the provider gives one."""
    uid = generate_uid()
    response = desk.post(f"workitems?{uid}", workitem(t00741202=element("LO")))
    assert response.status_code == 201
    assert warning(response) == f"299 {desk.url}/dicom-web: The Workitem was created with modifications."
    assert desk.shown(uid)["00741202"]["Value"] == ["WORKLIST"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/dicom+json", 400),
        (b"\xff\xfe", "application/dicom+json", 400),
        (b"[]", "application/dicom+json", 400),
        (b'"text"', "application/dicom+json", 400),
        (b"[{}, {}]", "application/dicom+json", 400),
        (b"", "application/dicom+json", 400),
        (b"[" * 100_000, "application/dicom+json", 400),
        (b'{"00741204": {"vr": "LO", "Value": [NaN]}}', "application/dicom+json", 400),
        (b'{"00741204": {"vr": "SL", "Value": [' + b"9" * 5000 + b"]}}", "application/dicom+json", 400),
        (b'{"PatientName": {"vr": "PN"}}', "application/dicom+json", 400),
        (b'{"00100010": "DOE"}', "application/dicom+json", 400),
        (b'{"00100010": {"vr": "XX"}}', "application/dicom+json", 400),
        (b'{"00100010": {"vr": "PN", "Value": ["DOE"]}}', "application/dicom+json", 400),
        (b'{"00100020": {"vr": "LO", "Value": "DOE"}}', "application/dicom+json", 400),
        (b'{"00100020": {"vr": "LO", "Value": ["DOE\\u0000"]}}', "application/dicom+json", 400),
        (b'{"00100020": {"vr": "LO", "Value": ["DOE\\ud800"]}}', "application/dicom+json", 400),
        (b'{"00100020": {"vr": "LO", "Value": ["' + b"DOE" * 30 + b'"]}}', "application/dicom+json", 400),
        (b'{"00100030": {"vr": "DA", "Value": ["DOE"]}}', "application/dicom+json", 400),
        (b'{"00741200": {"vr": "CS", "Value": ["doe"]}}', "application/dicom+json", 400),
        (b'{"00741200": {"vr": "CS", "Value": [true]}}', "application/dicom+json", 400),
        (b'{"00404021": {"vr": "SQ", "Value": ["DOE"]}}', "application/dicom+json", 400),
        (b'{"00404021": {"vr": "LO", "Value": ["DOE"]}}', "application/dicom+json", 400),
        (b'{"00404005": {"vr": "LO", "Value": ["20260301"]}}', "application/dicom+json", 400),
        (b'{"7FE00010": {"vr": "OW", "BulkDataURI": "http://doe/"}}', "application/dicom+json", 400),
        (b'{"7FE00010": {"vr": "OW", "InlineBinary": "%%%", "Value": [1]}}', "application/dicom+json", 400),
        (b'{"7FE00010": {"vr": "OW", "InlineBinary": 3}}', "application/dicom+json", 400),
        (b"<NativeDicomModel/>", "application/dicom+xml", 415),
        (b"{}", "text/plain", 415),
        (b" " * 5_000_000, "application/dicom+json", 413),
    ],
)
def test_malformed_bodies_get_their_status_and_repeat_no_value(
    desk: WorklistDesk, body: bytes, content_type: str, status: int
) -> None:
    """Whatever is in it: never 500, and never a name of a patient in the answer."""
    response = desk.http.post("/dicom-web/workitems", content=body, headers={"Content-Type": content_type})
    assert response.status_code == status, response.text
    assert response.json()["error"]["message"]
    assert "doe" not in response.text.lower()


def test_deep_sequences_are_refused(desk: WorklistDesk) -> None:
    """Each level costs a stack frame somewhere."""
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"00404021": element("SQ", deep)}
    assert desk.post("workitems", workitem(**{f"t{tag}": value for tag, value in deep.items()})).status_code == 400


def test_json_is_also_application_json(desk: WorklistDesk) -> None:
    """What the standard called it until 2015, and what many clients send."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert desk.http.post("/dicom-web/workitems", json=workitem(), headers=headers).status_code == 201


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/dicom+json", 200),
        ("application/json", 200),
        ("text/html, application/*;q=0.5", 200),
        ("*/*", 200),
        ("application/dicom+xml", 406),
        ("application/dicom+json;q=0, text/html", 406),
    ],
)
def test_only_dicom_json_is_answered(desk: WorklistDesk, accept: str, status: int) -> None:
    """406 where the client could not read it; the query parameter goes before the header."""
    uid = desk.create()
    assert desk.get(f"workitems/{uid}", Accept=accept).status_code == status
    assert desk.get("workitems", Accept=accept).status_code == status
    query = httpx.QueryParams({"accept": accept})
    assert desk.get(f"workitems/{uid}?{query}", Accept="text/html").status_code == status


def test_an_unknown_workitem_is_not_found_anywhere(desk: WorklistDesk) -> None:
    """404 for each transaction, 400 for what is no UID."""
    for uid, status in (("1.2.3.4.5", 404), ("abc", 400)):
        assert desk.get(f"workitems/{uid}").status_code == status
        assert desk.post(f"workitems/{uid}", {}).status_code == status
        assert desk.change(uid, "IN PROGRESS", "1.2").status_code == status
        assert desk.post(f"workitems/{uid}/cancelrequest").status_code == status
        assert desk.post(f"workitems/{uid}/subscribers/A").status_code == status
        assert desk.http.delete(f"/dicom-web/workitems/{uid}/subscribers/A").status_code == status


def test_the_whole_way_of_a_workitem(desk: WorklistDesk) -> None:
    """Claimed, performed, completed; the lock is never shown."""
    uid = desk.create()
    transaction = desk.claim(uid)
    assert desk.state(uid) == "IN PROGRESS"
    desk.complete(uid, transaction)
    assert desk.state(uid) == "COMPLETED"
    assert transaction not in desk.get(f"workitems/{uid}").text
    for query in ("", "includefield=all", "includefield=TransactionUID", "includefield=00081195"):
        answer = desk.get(f"workitems?SOPInstanceUID={uid}&{query}")
        assert answer.status_code == 200
        assert "00081195" not in answer.text


def test_who_asks_may_be_named_in_the_address(desk: WorklistDesk) -> None:
    """As in dcm4chee and AIW-I clients: /state/{requester} and /cancelrequest/{requester}."""
    uid = desk.create()
    body = {"00741000": element("CS", "IN PROGRESS"), "00081195": element("UI", "1.2.3")}
    headers = {"Content-Type": "application/dicom+json"}
    assert desk.http.put(f"/dicom-web/workitems/{uid}/state/READER", json=body, headers=headers).status_code == 200
    assert desk.state(uid) == "IN PROGRESS"
    assert desk.post(f"workitems/{desk.create()}/cancelrequest/READER").status_code == 202
    assert desk.post(f"workitems/{desk.create()}/cancelrequest/{'A' * 17}").status_code == 400


def test_one_of_two_racing_claimers_wins(desk: WorklistDesk) -> None:
    """Over HTTP, at once, sixteen times: one 200, the others 409, and only the winner can go on."""
    for _ in range(4):
        uid = desk.create()
        start = threading.Barrier(4)
        transactions = [generate_uid() for _ in range(4)]

        def claim(transaction: str, uid: str = uid, start: threading.Barrier = start) -> httpx.Response:
            with httpx.Client(base_url=desk.url, timeout=60) as http:
                start.wait()
                body = {"00741000": element("CS", "IN PROGRESS"), "00081195": element("UI", transaction)}
                headers = {"Content-Type": "application/dicom+json"}
                return http.put(f"/dicom-web/workitems/{uid}/state", json=body, headers=headers)

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(claim, transactions))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
        for transaction, answer in zip(transactions, answers, strict=True):
            if answer.status_code == 409:
                assert "inconsistent with the state of the UPS Instance" in warning(answer)
            allowed = desk.post(f"workitems/{uid}?transaction-uid={transaction}", {}).status_code == 200
            assert allowed is (answer.status_code == 200)


@pytest.mark.parametrize("state", ["SCHEDULED", "DONE", "", None])
def test_only_three_states_can_be_asked_for(desk: WorklistDesk, state: str | None) -> None:
    """Nothing goes back to SCHEDULED."""
    uid = desk.create()
    assert desk.change(uid, state, "1.2").status_code == 400
    assert desk.state(uid) == "SCHEDULED"


def test_a_state_changes_with_the_right_transaction_uid_only(desk: WorklistDesk) -> None:
    """Missing and incorrect are told apart, in the standard's words."""
    uid = desk.create()
    service = f"299 {desk.url}/dicom-web: "
    missing = desk.change(uid, "IN PROGRESS", None)
    assert (missing.status_code, warning(missing)) == (400, service + "The Transaction UID is missing.")
    desk.claim(uid)
    for state in ("COMPLETED", "CANCELED"):
        missing = desk.change(uid, state, None)
        assert (missing.status_code, warning(missing)) == (400, service + "The Transaction UID is missing.")
        wrong = desk.change(uid, state, "1.2.3")
        assert (wrong.status_code, warning(wrong)) == (400, service + "The Transaction UID is incorrect.")
    assert desk.state(uid) == "IN PROGRESS"


@pytest.mark.parametrize("state", ["COMPLETED", "CANCELED"])
def test_what_nobody_has_claimed_cannot_end(desk: WorklistDesk, state: str) -> None:
    """SCHEDULED leads to CANCELED through a request for cancellation only."""
    uid = desk.create()
    response = desk.change(uid, state, "1.2")
    assert response.status_code == 409
    expected = "The submitted request is inconsistent with the state of the UPS Instance."
    assert warning(response) == f"299 {desk.url}/dicom-web: {expected}"
    assert desk.state(uid) == "SCHEDULED"


@pytest.mark.parametrize("missing", ["00404028", "00404050", "00404019", "00404051", "00404033", "all"])
def test_a_workitem_is_completed_once_it_tells_what_was_performed(desk: WorklistDesk, missing: str) -> None:
    """Final state requirements (PS3.4, section CC.2.5.1.1): 409, and the attribute is named."""
    uid = desk.create()
    transaction = desk.claim(uid)
    (performed,) = PERFORMED["00741216"]["Value"]
    if missing != "all":
        item = {tag: value for tag, value in performed.items() if tag != missing}
        assert desk.post(f"workitems/{uid}?transaction={transaction}", {"00741216": element("SQ", item)}).is_success
    response = desk.change(uid, "COMPLETED", transaction)
    assert response.status_code == 409, response.text
    assert "inconsistent" in warning(response)
    assert desk.state(uid) == "IN PROGRESS"


def test_the_same_end_again_is_a_notice_and_another_a_conflict(desk: WorklistDesk) -> None:
    """A performer whose answer got lost asks again, and learns that all is well."""
    uid = desk.create()
    transaction = desk.claim(uid)
    desk.complete(uid, transaction)
    again = desk.change(uid, "COMPLETED", transaction)
    notice = "The UPS is already in the requested state of COMPLETED."
    assert (again.status_code, warning(again)) == (200, f"299 {desk.url}/dicom-web: {notice}")
    assert desk.change(uid, "CANCELED", transaction).status_code == 409
    assert desk.change(uid, "IN PROGRESS", transaction).status_code == 409
    assert desk.change(uid, "COMPLETED", "1.2").status_code == 400


def test_its_performer_may_cancel_and_the_reason_is_filled_in(desk: WorklistDesk) -> None:
    """A CANCELED workitem tells when and why (PS3.4, table CC.2.5-3, final state X)."""
    uid = desk.create()
    transaction = desk.claim(uid)
    assert desk.change(uid, "CANCELED", transaction).status_code == 200
    (progress,) = desk.shown(uid)["00741002"]["Value"]
    assert progress["0074100E"]["Value"][0]["00080100"]["Value"] == ["110513"]
    assert progress["00404052"]["Value"][0].endswith("+0000")
    again = desk.change(uid, "CANCELED", transaction)
    assert again.status_code == 200
    assert warning(again).endswith("The UPS is already in the requested state of CANCELED.")


@pytest.mark.parametrize("name", ["transaction", "transaction-uid", "Transaction-uid", "TRANSACTION-UID"])
def test_an_update_takes_every_name_the_transaction_uid_has_had(desk: WorklistDesk, name: str) -> None:
    """2014c, 2019b and 2025e differ (dcm4chee #4963)."""
    uid = desk.create()
    transaction = desk.claim(uid)
    label = {"00741204": element("LO", "Later")}
    assert desk.post(f"workitems/{uid}?{name}=1.2.3", label).status_code == 400
    response = desk.post(f"workitems/{uid}?{name}={transaction}", label)
    assert response.status_code == 200, response.text
    assert response.headers["content-location"].endswith(uid)
    assert desk.shown(uid)["00741204"]["Value"] == ["Later"]


def test_an_update_in_progress_needs_the_transaction_uid(desk: WorklistDesk) -> None:
    """Missing and incorrect differ in the Warning; in the data set it counts as well."""
    uid = desk.create()
    transaction = desk.claim(uid)
    label = {"00741204": element("LO", "Later")}
    missing = desk.post(f"workitems/{uid}", label)
    assert missing.status_code == 400
    assert "The target URI did not reference a claimed Workitem." in warning(missing)
    assert "The Transaction UID is missing." in warning(missing)
    wrong = desk.post(f"workitems/{uid}?transaction-uid=1.2", label)
    assert wrong.status_code == 400
    assert "The Transaction UID is incorrect." in warning(wrong)
    assert desk.post(f"workitems/{uid}", {**label, "00081195": element("UI", transaction)}).status_code == 200
    assert "00081195" not in desk.shown(uid)


def test_an_update_of_a_scheduled_workitem_goes_without(desk: WorklistDesk) -> None:
    """The scheduler corrects what nobody has begun; the time of it is noted."""
    uid = desk.create()
    before = desk.shown(uid)["00404010"]["Value"][0]
    assert desk.post(f"workitems/{uid}?transaction-uid=1.2", {"00741200": element("CS", "HIGH")}).status_code == 400
    assert desk.post(f"workitems/{uid}", {"00741200": element("CS", "HIGH")}).status_code == 200
    now = desk.shown(uid)
    assert now["00741200"]["Value"] == ["HIGH"]
    assert now["00404010"]["Value"][0] > before
    assert now["00741204"]["Value"] == ["Read the chest"]


@pytest.mark.parametrize("state", ["COMPLETED", "CANCELED"])
def test_what_has_ended_stays_as_it_is(desk: WorklistDesk, state: str) -> None:
    """400, with the right Transaction UID too."""
    uid = desk.create()
    transaction = desk.claim(uid)
    desk.post(f"workitems/{uid}?transaction-uid={transaction}", PERFORMED)
    assert desk.change(uid, state, transaction).status_code == 200
    response = desk.post(f"workitems/{uid}?transaction-uid={transaction}", {"00741204": element("LO", "Later")})
    assert response.status_code == 400
    expected = "The submitted request is inconsistent with the current state of the Workitem."
    assert warning(response) == f"299 {desk.url}/dicom-web: {expected}"


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("00741000", element("CS", "COMPLETED")),
        ("00080018", element("UI", "1.2")),
        ("00100020", element("LO", "P-2")),
        ("00741204", element("LO")),
        ("00404041", element("CS", "MAYBE")),
    ],
)
def test_an_update_changes_neither_state_nor_patient(desk: WorklistDesk, tag: str, value: Attributes) -> None:
    """Not allowed in N-SET; what is sent as it is does no harm: clients send all they have read."""
    uid = desk.create()
    before = desk.shown(uid)
    assert desk.post(f"workitems/{uid}", {tag: value}).status_code == 400
    assert desk.shown(uid) == before
    assert desk.post(f"workitems/{uid}", before).status_code == 200
    assert {**desk.shown(uid), "00404010": None} == {**before, "00404010": None}


def test_a_scheduled_workitem_is_canceled_on_request(desk: WorklistDesk) -> None:
    """202; the reason that was given stands in it; once more is a notice."""
    uid = desk.create()
    reason = {"00741238": element("LT", "Ordered twice"), "0074100E": element("SQ", code("110510", "DCM"))}
    response = desk.post(f"workitems/{uid}/cancelrequest", reason)
    assert (response.status_code, response.content) == (202, b"")
    assert desk.state(uid) == "CANCELED"
    (progress,) = desk.shown(uid)["00741002"]["Value"]
    assert progress["00741238"]["Value"] == ["Ordered twice"]
    assert progress["0074100E"]["Value"][0]["00080100"]["Value"] == ["110510"]
    again = desk.post(f"workitems/{uid}/cancelrequest")
    assert again.status_code == 202
    assert warning(again).endswith("The UPS is already in the requested state of CANCELED.")


def test_a_completed_workitem_cannot_be_canceled(desk: WorklistDesk) -> None:
    """409, and why."""
    uid = desk.create()
    desk.complete(uid, desk.claim(uid))
    response = desk.post(f"workitems/{uid}/cancelrequest")
    assert response.status_code == 409
    assert warning(response) == f"299 {desk.url}/dicom-web: The UPS is already COMPLETED."


def test_a_request_that_nobody_would_hear_is_refused(desk: WorklistDesk) -> None:
    """IN PROGRESS it is the performer's to cancel: without a subscriber the request would vanish."""
    uid = desk.create()
    desk.claim(uid)
    response = desk.post(f"workitems/{uid}/cancelrequest")
    assert response.status_code == 409
    assert warning(response).endswith("The performer cannot be contacted.")
    assert desk.post(f"workitems/{uid}/subscribers/PERFORMER").status_code == 201
    assert desk.post(f"workitems/{uid}/cancelrequest").status_code == 202
    assert desk.state(uid) == "IN PROGRESS"


def test_addresses_are_those_the_client_used(desk: WorklistDesk) -> None:
    """Behind a proxy, too."""
    uid = generate_uid()
    response = desk.post(f"workitems?{uid}", workitem(), Forwarded="proto=https;host=pacs.example")
    assert response.headers["location"] == f"https://pacs.example/dicom-web/workitems/{uid}"


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_data_sets_never_break_the_door(desk: WorklistDesk, data: st.DataObject) -> None:
    """Flipped, cut and doubled bytes end in an answer below 500, and the next good request works."""
    body = bytearray(json.dumps(workitem(t00404025=element("SQ", code("CT1")))).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "double"])):
            case "flip":
                body[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del body[at : at + 12]
            case "double":
                body[at:at] = body[at : at + 12]
    headers = {"Content-Type": "application/dicom+json"}
    assert desk.http.post("/dicom-web/workitems", content=bytes(body), headers=headers).status_code < 500


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.just({})
)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tag=st.sampled_from(sorted(workitem())),
    vr=st.sampled_from([None, None, *sorted(STANDARD_VR)]),
    values=st.lists(_VALUES, max_size=3),
    key=st.sampled_from(["Value", "InlineBinary"]),
)
def test_any_value_in_any_attribute_is_taken_or_refused(
    desk: WorklistDesk, tag: str, vr: str | None, values: list[Any], key: str
) -> None:
    """What is taken can be read, searched and updated afterwards."""
    changed = {"vr": vr or workitem()[tag]["vr"], key: values}
    response = desk.post("workitems", workitem(**{f"t{tag}": changed}))
    assert response.status_code in (201, 400), response.text
    if response.status_code == 201:
        uid = response.headers["location"].rsplit("/", 1)[1]
        assert desk.search(SOPInstanceUID=uid, includefield="all") == [uid]
        assert desk.post(f"workitems/{uid}", desk.shown(uid)).status_code < 500
