"""Event reports of workitems (PS3.4, table CC.2.4-1), in the DICOM JSON model as PS3.18, section 11.13, has them."""

from collections.abc import Iterator
from typing import Any

from hulumed_platform.gateway.ups_body import Attributes
from hulumed_platform.gateway.ups_rules import (
    HUMAN_PERFORMERS,
    PROGRESS,
    READINESS,
    REASON,
    REASON_CODES,
    STATE,
    STATION_CODES,
    UPS_PUSH,
    data_set,
    element,
    is_valued,
    items_of,
)
from hulumed_platform.storage.workitem_models import Workitem, WorkitemState

CANCEL_DETAILS = (REASON, REASON_CODES, "0074100A", "0074100C")
"""What a request for cancellation may tell: reason, codes for it, and whom to ask."""
_PROGRESS_DETAILS = ("00741004", "00741006", "00741007", "00741008")
_STATE_REPORT, _CANCEL_REQUESTED, _PROGRESS_REPORT, _ASSIGNED = 1, 2, 3, 5


def state_report(workitem: Workitem) -> dict[str, Any]:
    """The state the workitem is in now, and, when it is CANCELED, why."""
    shown = data_set(workitem)
    report = {STATE: shown[STATE], READINESS: shown.get(READINESS, element("CS"))}
    if workitem.state is WorkitemState.CANCELED:
        progress = (items_of(shown, PROGRESS) or [{}])[0]
        report |= {tag: progress[tag] for tag in (REASON, REASON_CODES) if tag in progress}
    return _report(workitem, _STATE_REPORT, report)


def cancel_requested(workitem: Workitem, details: Attributes, requester: str) -> dict[str, Any]:
    """Someone asks the performer to stop."""
    return _report(workitem, _CANCEL_REQUESTED, {"00741236": element("AE", requester), **details})


def reports_of_creation(workitem: Workitem) -> Iterator[dict[str, Any]]:
    """The first state, and whom the work was given to where that is known."""
    yield state_report(workitem)
    yield from _assignment(workitem)


def reports_of_update(before: Attributes, workitem: Workitem) -> Iterator[dict[str, Any]]:
    """What an update is to be told of: readiness, progress, another performer."""
    after = workitem.attributes
    if before.get(READINESS) != after.get(READINESS):
        yield state_report(workitem)
    details = _progress(after)
    if details and details != _progress(before):
        yield _report(workitem, _PROGRESS_REPORT, {PROGRESS: element("SQ", details)})
    if any(before.get(tag) != after.get(tag) for tag in (STATION_CODES, HUMAN_PERFORMERS)):
        yield from _assignment(workitem)


def _progress(attributes: Attributes) -> Attributes:
    item = (items_of(attributes, PROGRESS) or [{}])[0]
    return {tag: item[tag] for tag in _PROGRESS_DETAILS if tag in item}


def _assignment(workitem: Workitem) -> Iterator[dict[str, Any]]:
    report = {}
    if is_valued(workitem.attributes, STATION_CODES):
        report[STATION_CODES] = workitem.attributes[STATION_CODES]
    for performer in items_of(workitem.attributes, HUMAN_PERFORMERS)[:1]:
        report |= {tag: performer[tag] for tag in ("00404009", "00404036") if tag in performer}
    if report:
        yield _report(workitem, _ASSIGNED, report)


def _report(workitem: Workitem, event_type: int, information: Attributes) -> dict[str, Any]:
    return {
        "00000002": element("UI", UPS_PUSH),
        "00001000": element("UI", workitem.sop_instance_uid),
        "00001002": element("US", event_type),
        **information,
    }
