"""UPS-RS, states: who may claim, complete and cancel a workitem, and who may not (PS3.18, sections 11.7 and 11.8)."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.server import Answer
from hulumed_platform.dicomweb_check.service import Service
from hulumed_platform.dicomweb_check.suite import Suite
from hulumed_platform.dicomweb_check.synthetic import new_uid
from hulumed_platform.dicomweb_check.verdict import advise, require
from hulumed_platform.dicomweb_check.workitems import element, performed

SUITE = Suite(Service.UPS)
_CHANGE_STATE = "PS3.18 11.7.3"
_CANCEL = "PS3.18 11.8.3"
_RACERS = 6
_AE_TITLE = "DWCHECK"


@SUITE.check(
    "ups-claim", _CHANGE_STATE, sent="PUT /state IN PROGRESS with a Transaction UID", expected="200, IN PROGRESS"
)
def claim(bench: Bench) -> str:
    uid, _ = bench.workitems.claimed()
    require(bench.workitems.state(uid) == "IN PROGRESS", f"the state is {bench.workitems.state(uid)!r}")
    return "200"


@SUITE.check(
    "ups-claim-again", _CHANGE_STATE, sent="a second claim under another Transaction UID", expected="400 or 409"
)
def claim_again(bench: Bench) -> str:
    uid, _ = bench.workitems.claimed()
    answer = bench.workitems.change_state(uid, "IN PROGRESS", new_uid())
    require(answer.status in (400, 409), answer)
    return str(answer)


@SUITE.check(
    "ups-claim-race",
    "PS3.4 CC.2.1.3",
    sent=f"{_RACERS} claims at once, each with a Transaction UID of its own",
    expected="exactly one wins",
)
def claim_race(bench: Bench) -> str:
    uid = bench.workitems.new()
    with ThreadPoolExecutor(_RACERS) as pool:
        claims = [pool.submit(bench.workitems.change_state, uid, "IN PROGRESS", new_uid()) for _ in range(_RACERS)]
        statuses = sorted(claim.result().status for claim in claims)
    require(statuses.count(200) == 1, f"{statuses.count(200)} of {_RACERS} won: {statuses}")
    require(all(status in (200, 400, 409) for status in statuses), f"{statuses}")
    return f"{statuses}"


_KEYS = {
    "ups-state-key-missing": (None, "The Transaction UID is missing"),
    "ups-state-key-wrong": ("2.25.1", "The Transaction UID is incorrect"),
}


def _expect_key_refused(transaction: str | None, warning: str, bench: Bench) -> str:
    uid, own = bench.workitems.claimed()
    bench.workitems.update(uid, performed(), f"transaction-uid={own}")
    answer = bench.workitems.change_state(uid, "COMPLETED", transaction)
    require(answer.status in (400, 409), answer)
    require(bench.workitems.state(uid) == "IN PROGRESS", f"{answer}; but the state is changed")
    _require_warning(answer, warning)
    return str(answer)


for _name, (_transaction, _warning) in _KEYS.items():
    SUITE.check(
        _name,
        "PS3.18 11.7.3.2",
        sent=f"COMPLETED with {'no' if _transaction is None else 'another'} Transaction UID",
        expected=f"400 (or 409), with Warning: 299 <service>: {_warning}.",
    )(partial(_expect_key_refused, _transaction, _warning))


@SUITE.check(
    "ups-claim-key-missing",
    "PS3.18 11.7.3.2",
    sent="IN PROGRESS without Transaction UID",
    expected="400 (or 409), with Warning: 299 <service>: The Transaction UID is missing.",
)
def claim_key_missing(bench: Bench) -> str:
    uid = bench.workitems.new()
    answer = bench.workitems.change_state(uid, "IN PROGRESS", None)
    require(answer.status in (400, 409) and bench.workitems.state(uid) == "SCHEDULED", answer)
    _require_warning(answer, "The Transaction UID is missing")
    return str(answer)


@SUITE.check(
    "ups-complete-scheduled",
    _CHANGE_STATE,
    sent="COMPLETED for a workitem that nobody claimed",
    expected="400 or 409",
)
def complete_scheduled(bench: Bench) -> str:
    uid = bench.workitems.new()
    answer = bench.workitems.change_state(uid, "COMPLETED", new_uid())
    require(answer.status in (400, 409) and bench.workitems.state(uid) == "SCHEDULED", answer)
    return str(answer)


@SUITE.check(
    "ups-complete-unperformed",
    "PS3.4 CC.2.5.1.1",
    sent="COMPLETED for a claimed workitem of which nothing says what was done",
    expected="400 or 409: the final state requirements are not met",
)
def complete_unperformed(bench: Bench) -> str:
    uid, transaction = bench.workitems.claimed()
    answer = bench.workitems.change_state(uid, "COMPLETED", transaction)
    require(answer.status in (400, 409), answer)
    return str(answer)


@SUITE.check(
    "ups-complete",
    _CHANGE_STATE,
    sent="COMPLETED, when the final state requirements are met",
    expected="200, COMPLETED",
)
def complete(bench: Bench) -> str:
    uid, _ = bench.workitems.completed()
    require(bench.workitems.state(uid) == "COMPLETED", f"the state is {bench.workitems.state(uid)!r}")
    return "200"


@SUITE.check("ups-cancel-own", _CHANGE_STATE, sent="CANCELED by its performer", expected="200, CANCELED")
def cancel_own(bench: Bench) -> str:
    uid, _ = _cancelled(bench)
    require(bench.workitems.state(uid) == "CANCELED", f"the state is {bench.workitems.state(uid)!r}")
    return "200"


@SUITE.check(
    "ups-complete-again",
    "PS3.18 11.7.3.2",
    sent="COMPLETED for a completed workitem",
    expected="Warning: 299 <service>: The UPS is already in the requested state of COMPLETED.",
)
def complete_again(bench: Bench) -> str:
    uid, transaction = bench.workitems.completed()
    answer = bench.workitems.change_state(uid, "COMPLETED", transaction)
    require(answer.status in (200, 400, 409), answer)
    _require_warning(answer, "already in the requested state of COMPLETED")
    return str(answer)


@SUITE.check(
    "ups-cancel-again",
    "PS3.18 11.7.3.2",
    sent="CANCELED for a cancelled workitem",
    expected="Warning: 299 <service>: The UPS is already in the requested state of CANCELED.",
)
def cancel_again(bench: Bench) -> str:
    uid, transaction = _cancelled(bench)
    answer = bench.workitems.change_state(uid, "CANCELED", transaction)
    require(answer.status in (200, 400, 409), answer)
    _require_warning(answer, "already in the requested state of CANCELED")
    return str(answer)


@SUITE.check("ups-state-unknown", _CHANGE_STATE, sent="a state for a workitem that never was", expected="404")
def state_unknown(bench: Bench) -> str:
    answer = bench.workitems.change_state(new_uid(), "IN PROGRESS", new_uid())
    require(answer.status == 404, answer)
    return str(answer)


@SUITE.check("ups-state-no-state", _CHANGE_STATE, sent="the state DONE, which is none", expected="400")
def state_no_state(bench: Bench) -> str:
    answer = bench.workitems.change_state(bench.workitems.new(), "DONE", new_uid())
    require(answer.status == 400, answer)
    return str(answer)


@SUITE.check(
    "ups-cancel-request-scheduled",
    _CANCEL,
    sent="a cancel request for a scheduled workitem",
    expected="202; editions up to 2024 name SCHEDULED among the states for 409, which is accepted too",
)
def cancel_request_scheduled(bench: Bench) -> str:
    answer = bench.workitems.request_cancel(bench.workitems.new())
    require(answer.status in (202, 409), answer)
    return f"{answer.status}, of the two readings: {answer}"


@SUITE.check(
    "ups-cancel-request-in-progress",
    _CANCEL,
    sent="a cancel request for a workitem in progress, to which somebody is subscribed",
    expected="202; 409 where the server performs it, and refuses",
)
def cancel_request_in_progress(bench: Bench) -> str:
    uid, _ = bench.workitems.claimed()
    bench.workitems.subscribe(uid, _AE_TITLE)
    answer = bench.workitems.request_cancel(uid)
    require(answer.status in (202, 409), answer)
    advise(answer.status == 202, f"{answer}; nobody can ask for the end of work that runs")
    return str(answer)


@SUITE.check("ups-cancel-request-completed", _CANCEL, sent="a cancel request for a completed workitem", expected="409")
def cancel_request_completed(bench: Bench) -> str:
    uid, _ = bench.workitems.completed()
    answer = bench.workitems.request_cancel(uid)
    require(answer.status == 409, answer)
    return str(answer)


@SUITE.check("ups-cancel-request-unknown", _CANCEL, sent="a cancel request for what never was", expected="404")
def cancel_request_unknown(bench: Bench) -> str:
    answer = bench.workitems.request_cancel(new_uid())
    require(answer.status == 404, answer)
    return str(answer)


def _cancelled(bench: Bench) -> tuple[str, str]:
    """A workitem that its performer ended, having said when."""
    uid, transaction = bench.workitems.claimed()
    bench.workitems.update(uid, performed(), f"transaction-uid={transaction}")
    progress = {"00741002": element("SQ", {"00404052": element("DT", "20200115110000")})}
    bench.workitems.update(uid, progress, f"transaction-uid={transaction}")
    answer = bench.workitems.change_state(uid, "CANCELED", transaction)
    require(answer.status == 200, f"its performer cannot cancel it: {answer}")
    return uid, transaction


def _require_warning(answer: Answer, text: str) -> None:
    warning = answer.headers.get("warning", "")
    require("299" in warning and text in warning, f"{answer}; Warning is {warning!r}")
