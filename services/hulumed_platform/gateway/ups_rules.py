"""What a workitem must hold to be made, changed and ended (PS3.4, table CC.2.5-3), on data sets in DICOM JSON."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydicom.datadict import keyword_for_tag

from hulumed_platform.gateway.ups_body import Attributes
from hulumed_platform.gateway.ups_refusal import INCONSISTENT_STATE, RefusedError
from hulumed_platform.storage.workitem_models import Workitem, WorkitemState

UPS_PUSH = "1.2.840.10008.5.1.4.34.6.1"
"""Every workitem is an instance of this SOP class, whoever made it (PS3.4, section CC.3.1)."""
SOP_CLASS, SOP_INSTANCE, TRANSACTION_UID, STATE = "00080016", "00080018", "00081195", "00741000"
STATION_CODES, INPUTS, HUMAN_PERFORMERS = "00404025", "00404021", "00404034"
READINESS, PRIORITY, LABEL, MODIFIED_AT = "00404041", "00741200", "00741202", "00404010"
PROGRESS, PERFORMED, REQUESTS = "00741002", "00741216", "0040A370"
CANCELED_AT, REASON, REASON_CODES = "00404052", "00741238", "0074100E"
STUDY = "0020000D"

AFFECTED_UID = "00001000"
"""How DIMSE names a workitem; some clients put it into the data set."""
_OF_THE_ROW = (AFFECTED_UID, SOP_CLASS, SOP_INSTANCE, STATE, TRANSACTION_UID)
_DEFAULT_LABEL = "WORKLIST"
_VALUED = (PRIORITY, "00741204", "00404005", READINESS)
"""Type 1: present with a value. The state, too; it is told apart."""
_PRESENT = (
    *("00741210", STATION_CODES, "00404026", "00404027", "00404018", "00400400", INPUTS, LABEL),
    *("00100010", "00100021", "00100024", "00101002", "00100030", "00100040"),
    *("00380010", "00380014", "00081080", "00081084", REQUESTS, PROGRESS, PERFORMED),
)
"""Type 2: present, and it may be empty. The Transaction UID, too; absent, it is as empty as can be."""
_EMPTY = (TRANSACTION_UID, PROGRESS, PERFORMED)
_ENUMERATED = {PRIORITY: ("HIGH", "MEDIUM", "LOW"), READINESS: ("INCOMPLETE", "UNAVAILABLE", "READY")}
_VALUED_IN = {REQUESTS: (STUDY,), HUMAN_PERFORMERS: ("00404009", "00404037", "00404036")}
_PRESENT_IN = {
    REQUESTS: ("00080050", "00080051", "00400026", "00400027", "00401001", "00321060", "00321064"),
    HUMAN_PERFORMERS: (),
}
_FIXED = (
    *(SOP_CLASS, SOP_INSTANCE, STATE, REQUESTS, "00741224", "00380010", "00380014", "00081080", "00081084"),
    *("00100010", "00100020", "00100021", "00100024", "00100030", "00100040"),
)
"""What an update must not change."""
_PERFORMED_VALUED = ("00404028", "00404050", "00404019", "00404051")
_OUTPUTS = "00404033"
_UNSPECIFIED = {"00080100": "110513", "00080102": "DCM", "00080104": "Discontinued for unspecified reason"}
_CODE_VRS = {"00080100": "SH", "00080102": "SH", "00080104": "LO"}


def is_valued(attributes: Attributes, tag: str) -> bool:
    """Whether the attribute is there and not empty; an item of a sequence counts as a value."""
    return any(value not in (None, "") for value in attributes.get(tag, {}).get("Value", []))


def value_of(attributes: Attributes, tag: str) -> str:
    """The first value as text, empty where there is none."""
    values = attributes.get(tag, {}).get("Value") or [""]
    return "" if values[0] is None else str(values[0])


def items_of(attributes: Attributes, tag: str) -> list[Attributes]:
    """The items of a sequence."""
    return list(attributes.get(tag, {}).get("Value", []))


def element(vr: str, *values: Any) -> dict[str, Any]:
    """An element of the DICOM JSON model."""
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def data_set(workitem: Workitem) -> Attributes:
    """The workitem as others may see it: without its Transaction UID."""
    shown = {
        **workitem.attributes,
        SOP_CLASS: element("UI", UPS_PUSH),
        SOP_INSTANCE: element("UI", workitem.sop_instance_uid),
        STATE: element("CS", workitem.state.value),
    }
    return dict(sorted(shown.items()))


def created(attributes: Attributes, now: datetime) -> tuple[Attributes, bool]:
    """What is stored of the data set of a new workitem, and whether a missing Worklist Label was filled in.

    Raises:
        RefusedError: 400, naming every attribute that is missing or must not have its value.
    """
    if value_of(attributes, STATE) != WorkitemState.SCHEDULED:
        raise RefusedError(400, "a new workitem has the Procedure Step State SCHEDULED; send it so")
    _refuse("a new workitem needs a value in", (tag for tag in _VALUED if not is_valued(attributes, tag)))
    _refuse("a new workitem has, if empty,", (tag for tag in _PRESENT if tag not in attributes))
    _refuse("a new workitem must have empty", (tag for tag in _EMPTY if is_valued(attributes, tag)))
    _check_contents(attributes)
    kept = {tag: value for tag, value in attributes.items() if tag not in _OF_THE_ROW}
    is_filled = not is_valued(kept, LABEL)
    if is_filled:
        kept[LABEL] = element("LO", _DEFAULT_LABEL)
    return {**kept, MODIFIED_AT: element("DT", moment(now))}, is_filled


def updated(workitem: Workitem, changes: Attributes, now: datetime) -> Attributes:
    """The attributes after an update; a sequence is replaced as a whole, a value sent as it is changes nothing.

    Raises:
        RefusedError: 400 for what an update must not change or empty.
    """
    before = data_set(workitem)
    _refuse("an update must not change", (tag for tag in _FIXED if tag in changes and changes[tag] != before.get(tag)))
    emptied = (tag for tag in (*_VALUED, LABEL) if tag in changes and not is_valued(changes, tag))
    _refuse("an update must not empty", emptied)
    _check_contents(changes)
    kept = {tag: value for tag, value in changes.items() if tag not in _OF_THE_ROW}
    return {**workitem.attributes, **kept, MODIFIED_AT: element("DT", moment(now))}


def check_completed(attributes: Attributes) -> None:
    """Refuse with 409 what lacks a Final State attribute of a COMPLETED workitem."""
    performed = items_of(attributes, PERFORMED)
    missing = [tag for tag in (*_VALUED, MODIFIED_AT) if not is_valued(attributes, tag)]
    missing += [] if performed else [PERFORMED]
    for item in performed:
        missing += [tag for tag in _PERFORMED_VALUED if not is_valued(item, tag)]
        missing += [] if _OUTPUTS in item else [_OUTPUTS]
    if missing:
        message = f"before it is COMPLETED the workitem needs {_names(missing)}; update it first"
        raise RefusedError(409, message, INCONSISTENT_STATE)


def canceled(attributes: Attributes, reasons: Attributes, now: datetime) -> Attributes:
    """The attributes with what a CANCELED workitem must tell: when, and why, be it for an unspecified reason."""
    given = (items_of(attributes, PROGRESS) or [{}])[0]
    progress = {**given, **reasons}
    if not is_valued(progress, CANCELED_AT):
        progress[CANCELED_AT] = element("DT", moment(now))
    if not is_valued(progress, REASON_CODES):
        code = {tag: element(_CODE_VRS[tag], value) for tag, value in _UNSPECIFIED.items()}
        progress[REASON_CODES] = element("SQ", code)
    return {**attributes, PROGRESS: element("SQ", progress)}


def input_studies(attributes: Attributes) -> list[str]:
    """Study Instance UIDs of the Input Information Sequence, each once."""
    uids = (value_of(item, STUDY) for item in items_of(attributes, INPUTS))
    return list(dict.fromkeys(uid for uid in uids if uid))


def moment(now: datetime) -> str:
    """A DT in UTC."""
    return f"{now:%Y%m%d%H%M%S.%f}+0000"


def _check_contents(attributes: Attributes) -> None:
    for tag, allowed in _ENUMERATED.items():
        if tag in attributes and is_valued(attributes, tag) and value_of(attributes, tag) not in allowed:
            raise RefusedError(400, f"{keyword_for_tag(int(tag, 16))} is one of {', '.join(allowed)}")
    for sequence, tags in _VALUED_IN.items():
        for item in items_of(attributes, sequence):
            name = keyword_for_tag(int(sequence, 16))
            _refuse(f"an item of {name} needs a value in", (tag for tag in tags if not is_valued(item, tag)))
            _refuse(f"an item of {name} has, if empty,", (tag for tag in _PRESENT_IN[sequence] if tag not in item))


def _refuse(what: str, tags: Iterable[str]) -> None:
    if named := list(tags):
        raise RefusedError(400, f"{what} {_names(named)} (PS3.4, table CC.2.5-3)")


def _names(tags: Iterable[str]) -> str:
    return ", ".join(keyword_for_tag(int(tag, 16)) for tag in tags)
