"""UPS-RS: workitems made, shown, changed, found and subscribed to (PS3.18, chapter 11)."""

from functools import partial
from typing import Any

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.reply import value
from hulumed_platform.dicomweb_check.server import DICOM_JSON, Answer
from hulumed_platform.dicomweb_check.service import ABSENT, Service
from hulumed_platform.dicomweb_check.suite import Suite
from hulumed_platform.dicomweb_check.synthetic import new_uid
from hulumed_platform.dicomweb_check.verdict import advise, offered, require
from hulumed_platform.dicomweb_check.workitems import STATE, TRANSACTION_UID, Attributes, element, one

SUITE = Suite(Service.UPS)
_CREATE = "PS3.18 11.4.3"
_RETRIEVE = "PS3.18 11.5.3"
_UPDATE = "PS3.18 11.6.3"
_SEARCH = "PS3.18 11.9.3"
_LABEL = "00741204"
_AE_TITLE = "DWCHECK"


@SUITE.check(
    "ups-create",
    _CREATE,
    sent="POST /workitems?{uid}",
    expected="201, Location and Content-Location with the UID, no body",
)
def create(bench: Bench) -> str:
    uid = new_uid()
    answer = bench.workitems.create(uid)
    require(answer.status == 201, answer)
    for name in ("location", "content-location"):
        address = answer.headers.get(name, "")
        require(address.endswith(f"/workitems/{uid}"), f"201; {name} is {address!r}")
    advise(not answer.body, f"{answer}; a status report at most is to stand there")
    return f"201, {answer.headers['location']}"


@SUITE.check("ups-create-again", _CREATE, sent="the same workitem again", expected="409")
def create_again(bench: Bench) -> str:
    answer = bench.workitems.create(bench.workitems.new())
    require(answer.status == 409, answer)
    return str(answer)


_WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "ups-create-no-label": ("a workitem without Procedure Step Label", {f"t{_LABEL}": None}),
    "ups-create-no-priority": ("a workitem without Scheduled Procedure Step Priority", {"t00741200": None}),
    "ups-create-no-state": ("a workitem without Procedure Step State", {f"t{STATE}": None}),
    "ups-create-in-progress": ("a workitem IN PROGRESS", {f"t{STATE}": element("CS", "IN PROGRESS")}),
    "ups-create-claimed": (
        "a workitem with a Transaction UID",
        {f"t{TRANSACTION_UID}": element("UI", "2.25.1")},
    ),
}


def _expect_not_created(changes: dict[str, Any], bench: Bench) -> str:
    uid = new_uid()
    answer = bench.workitems.create(uid, **changes)
    require(answer.status == 400, answer)
    require(bench.workitems.get(uid).status == 404, f"{answer}; but it is there")
    return str(answer)


for _name, (_sent, _changes) in _WRONG.items():
    SUITE.check(_name, _CREATE, sent=_sent, expected="400, and it is not there")(partial(_expect_not_created, _changes))


@SUITE.check(
    "ups-retrieve",
    _RETRIEVE,
    sent="GET of a new workitem",
    expected=f"200, {DICOM_JSON}, SCHEDULED, with the label that was sent",
)
def retrieve(bench: Bench) -> str:
    answer = bench.workitems.get(bench.workitems.new())
    require(answer.status == 200 and answer.media_type == DICOM_JSON, answer)
    found = one(answer)
    require(value(found, STATE) == "SCHEDULED" and value(found, _LABEL) == "DICOMweb check", answer)
    return f"{answer.status} {answer.media_type}"


@SUITE.check("ups-retrieve-unknown", _RETRIEVE, sent="GET of a workitem that never was", expected="404")
def retrieve_unknown(bench: Bench) -> str:
    answer = bench.workitems.get(new_uid())
    require(answer.status == 404, answer)
    return str(answer)


@SUITE.check(
    "ups-transaction-uid-hidden",
    "PS3.18 11.5.2",
    sent="GET of a claimed workitem, and a search for it with includefield=all",
    expected="the Transaction UID stands in neither: it is the key of its performer",
)
def transaction_uid_hidden(bench: Bench) -> str:
    uid, transaction = bench.workitems.claimed()
    search = f"/workitems?PatientID={bench.patient_id}&includefield=all&includefield={TRANSACTION_UID}"
    for answer in (bench.workitems.get(uid), bench.server.get(search)):
        require(transaction.encode() not in answer.body, f"it is shown: {answer}")
    return "it is not shown"


@SUITE.check(
    "ups-update-scheduled", _UPDATE, sent="a new label for a scheduled workitem", expected="200, and it is there"
)
def update_scheduled(bench: Bench) -> str:
    uid = bench.workitems.new()
    answer = bench.workitems.update(uid, _relabelled())
    require(answer.status == 200, answer)
    require(value(one(bench.workitems.get(uid)), _LABEL) == "relabelled", f"{answer}; but the label is as it was")
    return str(answer)


@SUITE.check("ups-update-unknown", _UPDATE, sent="a new label for a workitem that never was", expected="404")
def update_unknown(bench: Bench) -> str:
    answer = bench.workitems.update(new_uid(), _relabelled())
    require(answer.status == 404, answer)
    return str(answer)


def _expect_updated(parameter: str, bench: Bench) -> str:
    uid, transaction = bench.workitems.claimed()
    answer = bench.workitems.update(uid, _relabelled(), f"{parameter}={transaction}")
    require(answer.status == 200, answer)
    return str(answer)


for _parameter, _edition in {"transaction": "2014c", "transaction-uid": "2019b", "Transaction-uid": "2025e"}.items():
    SUITE.check(
        f"ups-update-parameter-{'capital' if _parameter[0] == 'T' else _parameter}",
        "PS3.18 11.6.1",
        sent=f"an update in progress with {_parameter}=…, its name since {_edition}",
        expected="200: clients of all editions are there",
    )(partial(_expect_updated, _parameter))


_UNKEYED = {"ups-update-key-missing": None, "ups-update-key-wrong": "transaction-uid=2.25.1"}


def _expect_update_refused(query: str | None, bench: Bench) -> str:
    uid, _ = bench.workitems.claimed()
    answer = bench.workitems.update(uid, _relabelled(), query or "")
    require(answer.status in (400, 409), answer)
    require(value(one(bench.workitems.get(uid)), _LABEL) != "relabelled", f"{answer}; but the label is the new one")
    return str(answer)


for _name, _query in _UNKEYED.items():
    SUITE.check(
        _name,
        _UPDATE,
        sent=f"an update in progress {'with ' + _query if _query else 'without Transaction UID'}",
        expected="400 (or 409), and nothing changes",
    )(partial(_expect_update_refused, _query))


@SUITE.check("ups-update-completed", _UPDATE, sent="an update of a completed workitem", expected="400")
def update_completed(bench: Bench) -> str:
    uid, transaction = bench.workitems.completed()
    answer = bench.workitems.update(uid, _relabelled(), f"transaction-uid={transaction}")
    require(answer.status == 400, answer)
    return str(answer)


@SUITE.check(
    "ups-search-no-match",
    _SEARCH,
    sent="a search for a patient who is not there",
    expected="204, or 200 with an empty array",
    writes=False,
)
def search_no_match(bench: Bench) -> str:
    answer = bench.server.get(f"/workitems?PatientID={new_uid()[:60]}")
    require(answer.status == 204 or (answer.status == 200 and answer.json() == []), answer)
    return str(answer)


@SUITE.check(
    "ups-search",
    _SEARCH,
    sent="a search by patient and state, by keyword and by tag",
    expected="200 with the scheduled workitem, not with the one in progress",
)
def search(bench: Bench) -> str:
    scheduled, (claimed, _) = bench.workitems.new(), bench.workitems.claimed()
    for query in ("PatientID={0}&ProcedureStepState=SCHEDULED", "00100020={0}&00741000=SCHEDULED"):
        answer = bench.server.get(f"/workitems?{query.format(bench.patient_id)}")
        require(answer.status == 200, answer)
        found = {str(value(match, "00080018")) for match in answer.json()}
        require(scheduled in found, f"{query}: the scheduled one is not among {len(found)} matches")
        require(claimed not in found, f"{query}: the one in progress is among the matches")
    return "it is found"


@SUITE.check(
    "ups-search-retrieve-url",
    _SEARCH,
    sent="a search for a workitem",
    expected="a Retrieve URL, if there is one, holds its UID",
)
def search_retrieve_url(bench: Bench) -> str:
    uid = bench.workitems.new()
    answer = bench.server.get(f"/workitems?PatientID={bench.patient_id}&ProcedureStepState=SCHEDULED")
    require(answer.status == 200 and uid.encode() in answer.body, answer)
    for match in answer.json():
        url, own = str(value(match, "00081190")), str(value(match, "00080018"))
        require(not url or url.rstrip("/").endswith(f"/workitems/{own}"), f"{url} of {own}")
    return f"right for {len(answer.json())} matches"


@SUITE.check(
    "ups-subscribe",
    "PS3.18 11.10.3",
    sent=f"POST /workitems/{{uid}}/subscribers/{_AE_TITLE}, then DELETE of it",
    expected="201 with Content-Location of a WebSocket, then 200",
)
def subscribe(bench: Bench) -> str:
    uid = bench.workitems.new()
    answer = _subscribe(bench, uid)
    require(answer.status == 201, answer)
    channel = answer.headers.get("content-location", "")
    ended = bench.workitems.unsubscribe(uid, _AE_TITLE)
    require(ended.ok, f"201, then {ended}")
    advise(channel.startswith(("ws:", "wss:")), f"201, but Content-Location is {channel!r}")
    return f"201 with {channel}, then {ended.status}"


@SUITE.check(
    "ups-unsubscribe-unknown", "PS3.18 11.11.3", sent="DELETE of a subscription that never was", expected="404"
)
def unsubscribe_unknown(bench: Bench) -> str:
    uid = bench.workitems.new()
    offered(_subscribe(bench, uid).ok, "nobody can subscribe")
    bench.workitems.unsubscribe(uid, _AE_TITLE)
    answer = bench.workitems.unsubscribe(uid, f"{_AE_TITLE}-2")
    require(answer.status == 404, answer)
    return str(answer)


def _subscribe(bench: Bench, uid: str) -> Answer:
    answer = bench.workitems.subscribe(uid, _AE_TITLE)
    offered(answer.status not in (*ABSENT, 403), f"nobody can subscribe: {answer.status}")
    return answer


def _relabelled() -> Attributes:
    return {_LABEL: element("LO", "relabelled")}
