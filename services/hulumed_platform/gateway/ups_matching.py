"""Matching of workitems (PS3.18, section 8.3.4.1; PS3.4, section C.2.2.2): keys of a data set, matches of a query.

Dates and times are compared as text in one form, YYYYMMDDHHMMSSffffff in UTC; a value that is less precise stands for
the whole of its year, day or minute. Names of persons match whatever the case, each component group by itself.
"""

import re
from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

from hulumed_platform.gateway.ups_refusal import RefusedError
from hulumed_platform.storage.workitem_models import MAX_KEY_CHARS
from hulumed_platform.storage.workitem_search import Between, Key, Like, Match, OneOf

TRANSACTION_UID = "00081195"

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_MOMENT = re.compile(r"(\d{4}(?:\d\d){0,5})(?:\.(\d{1,6}))?([+-]\d{4})?")
_TIME = re.compile(r"((?:\d\d){1,3})(?:\.(\d{1,6}))?")
_LOWEST = "00000101000000"
_UNITS = {8: timedelta(days=1), 10: timedelta(hours=1), 12: timedelta(minutes=1), 14: timedelta(seconds=1)}
_TIME_VRS = ("DA", "DT", "TM")
_WILD_VRS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")


def tag_of(name: str) -> str | None:
    """The tag that a query names by tag or keyword, in eight upper-case digits; None for what is no attribute."""
    if _TAG.fullmatch(name):
        return name.upper()
    tag = tag_for_keyword(name)
    return None if tag is None else f"{tag:08X}"


def keys_of(attributes: Mapping[str, Any]) -> set[Key]:
    """Every value by which a data set can be found."""
    return set(_walk(attributes, "", ""))


def matches_of(query: Iterable[tuple[str, str]]) -> list[Match]:
    """What a query asks for. Names that are no attribute are ignored, empty values and `*` match everything.

    Raises:
        RefusedError: 400 for a value that is not of its attribute, and for the Transaction UID, which is not searched.
    """
    found = (_match(name, value) for name, value in query if value.strip("*"))
    return [match for match in found if match is not None]


def _walk(attributes: Mapping[str, Any], path: str, item: str) -> Iterator[Key]:
    for tag, element in attributes.items():
        here = f"{path}.{tag}" if path else tag
        for number, value in enumerate(element.get("Value", [])):
            if element["vr"] == "SQ":
                yield from _walk(value, here, f"{item}.{number}" if item else str(number))
            else:
                yield from (
                    Key(here, item, text) for text in _texts(element["vr"], value) if len(text) <= MAX_KEY_CHARS
                )


def _texts(vr: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        return [group.lower() for group in value.values()]
    text = "" if value is None else str(value).strip()
    if vr in _TIME_VRS and text:
        try:
            return [_span(vr, text)[0]]
        except ValueError:
            return []
    return [text] if text else []


def _match(name: str, value: str) -> Match | None:
    tags = [tag_of(part) for part in name.split(".")]
    path = ".".join(tag for tag in tags if tag)
    if None in tags or not path:
        return None
    if TRANSACTION_UID in path:
        raise RefusedError(400, "the Transaction UID cannot be searched; leave it out of the query")
    if "\x00" in value:
        raise RefusedError(400, f"the value of {name} holds NUL, which no attribute has")
    vr = _vr(path[-8:])
    if vr == "SQ":
        raise RefusedError(400, f"{name} is a sequence; name an attribute of its items, as in {name}.CodeValue")
    if vr == "UI":
        return OneOf(path, tuple(uid for uid in re.split(r"[,\\]", value) if uid))
    if vr in _TIME_VRS:
        return _range(name, path, vr, value)
    text = value.strip().lower() if vr == "PN" else value.strip()
    if vr in _WILD_VRS and ("*" in text or "?" in text):
        return Like(path, text)
    return OneOf(path, (text,))


def _vr(tag: str) -> str:
    try:
        return dictionary_VR(int(tag, 16))
    except KeyError:  # a private attribute
        return "UN"


def _range(name: str, path: str, vr: str, value: str) -> Between:
    """`a`, `a-`, `-b` or `a-b`; a hyphen may also begin the time zone of a DT, so the whole is tried first."""
    splits = [(value, value)] + [(value[:at], value[at + 1 :]) for at, sign in enumerate(value) if sign == "-"]
    for low, high in splits:
        try:
            return Between(path, _span(vr, low)[0] if low else None, _span(vr, high)[1] if high else None)
        except ValueError:
            continue
    raise RefusedError(400, f"the value of {name} is no {vr} and no range of them (PS3.4, section C.2.2.2.5)")


def _span(vr: str, text: str) -> tuple[str, str]:
    """First and last moment that the value means. Raises ValueError for what is no such value."""
    match = (_TIME if vr == "TM" else _MOMENT).fullmatch(text)
    if match is None or (vr == "DA" and len(text) != 8):
        raise ValueError(vr)
    digits, fraction, *zone = match.groups()
    if fraction and len(digits) < (6 if vr == "TM" else 14):
        raise ValueError(vr)
    digits = f"20000101{digits}" if vr == "TM" else digits
    first = datetime.strptime(digits + _LOWEST[len(digits) :], "%Y%m%d%H%M%S").replace(tzinfo=_zone(zone))
    last = _end(first, len(digits))
    if fraction:
        first += timedelta(microseconds=int(fraction.ljust(6, "0")))
        last = first + timedelta(seconds=10 ** -len(fraction), microseconds=-1)
    return _in_utc(first), _in_utc(last)


def _end(first: datetime, num_digits: int) -> datetime:
    match num_digits:
        case 4:
            return first.replace(month=12, day=31, hour=23, minute=59, second=59, microsecond=999999)
        case 6:
            day = monthrange(first.year, first.month)[1]
            return first.replace(day=day, hour=23, minute=59, second=59, microsecond=999999)
        case _:
            return first + (_UNITS[num_digits] - timedelta(microseconds=1))


def _zone(groups: list[str | None]) -> timezone:
    """The offset that a DT ends with; one without counts as UTC, the zone in which this platform writes its own."""
    if not groups or groups[0] is None:
        return UTC
    sign, hours, minutes = groups[0][0], int(groups[0][1:3]), int(groups[0][3:])
    offset = timedelta(hours=hours, minutes=minutes)
    if minutes > 59 or offset > timedelta(hours=14):
        raise ValueError("no time zone")
    return timezone(offset if sign == "+" else -offset)


def _in_utc(moment: datetime) -> str:
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("before the first or after the last year") from None
    return f"{moment.year:04}{moment:%m%d%H%M%S%f}"
