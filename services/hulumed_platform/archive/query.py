"""What a QIDO-RS client asks for (PS3.18, sections 8.3.4 and 10.6), read and checked; no SQL in it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, tag_for_keyword

from hulumed_platform.core.errors import ErrorCode, PlatformError

MAX_LIMIT = 5000
"""Results of one answer; a Warning says where the next ones are."""
_RESERVED = {
    "includefield",
    "fuzzymatching",
    "limit",
    "offset",
    "emptyvaluematching",
    "multiplevaluematching",
    "accept",
}
_DATE = re.compile(r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d|60)?)?(\.\d{1,6})?")
_UIDS = re.compile(r"[0-9.]{1,64}([,\\][0-9.]{1,64})*")
_HEX = re.compile(r"[0-9A-Fa-f]{8}")
_WILD_VRS = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}


class Level(IntEnum):
    """What is searched for."""

    STUDY = 0
    SERIES = 1
    INSTANCE = 2


@dataclass(frozen=True, slots=True)
class Range:
    """Of dates or times, both ends included; an empty end is open."""

    low: str
    high: str


@dataclass(frozen=True, slots=True)
class Match:
    """One attribute that results must have: a value, one of several UIDs, a pattern with * and ?, or a range."""

    path: str
    """Tag as 8 hex digits; `sequence.attribute` for an attribute of items."""
    vr: str
    value: str | tuple[str, ...] | Range

    @property
    def is_pattern(self) -> bool:
        """Whether * and ? stand for other characters."""
        return self.vr in _WILD_VRS and isinstance(self.value, str) and bool({"*", "?"} & set(self.value))


@dataclass(frozen=True, slots=True)
class Query:
    """A whole search, and what of it cannot be honoured."""

    matches: tuple[Match, ...] = ()
    limit: int = MAX_LIMIT
    offset: int = 0
    include: frozenset[str] = frozenset()
    """Tags of `includefield`; every attribute that is remembered is returned anyway."""
    warnings: tuple[str, ...] = field(default=())


def read_query(parameters: Sequence[tuple[str, str]], supported: Iterable[str]) -> Query:
    """Read the query parameters of a search.

    Args:
        parameters: names and values in the order of the address.
        supported: paths of attributes that can be matched; others are ignored, and the answer's Warning says so.

    Raises:
        PlatformError: INVALID_INPUT for a value that its attribute cannot have.
    """
    known = set(supported)
    matches, ignored = [], []
    for name, value in parameters:
        if name.lower() in _RESERVED:
            continue
        path = tag_path(name)
        if path is None or path not in known:
            ignored.append(name)
        elif value.strip("*"):  # an empty value, like a lone *, matches everything (PS3.4, section C.2.2.2.3)
            matches.append(_match(name, path, value))
    return Query(
        tuple(matches),
        limit=min(_count(parameters, "limit", MAX_LIMIT), MAX_LIMIT),
        offset=_count(parameters, "offset", 0),
        include=frozenset(_included(parameters)),
        warnings=tuple(_warnings(parameters, ignored)),
    )


def tag_path(name: str) -> str | None:
    """`PatientID`, `00100020` and dotted paths of them as `00100020`; None for what is no DICOM attribute."""
    tags = [_tag(part) for part in name.split(".")]
    return ".".join(f"{tag:08X}" for tag in tags if tag is not None) if None not in tags else None


def _tag(name: str) -> int | None:
    if _HEX.fullmatch(name):
        return int(name, 16)
    return tag_for_keyword(name)


def _match(name: str, path: str, value: str) -> Match:
    tag = int(path[-8:], 16)
    vr = dictionary_VR(tag) if dictionary_has_tag(tag) else "LO"
    match vr:
        case "UI":
            if not _UIDS.fullmatch(value):
                raise _bad(name, "one UID, or several with commas between them")
            return Match(path, vr, tuple(re.split(r"[,\\]", value)))
        case "DA":
            return Match(path, vr, _range(name, value, _DATE, "YYYYMMDD, or a range YYYYMMDD-YYYYMMDD"))
        case "TM":
            return Match(path, vr, _range(name, value, _TIME, "HHMMSS, or a range HHMMSS-HHMMSS"))
        case "IS" | "US" if not re.fullmatch(r"[+-]?\d{1,12}", value):
            raise _bad(name, "a whole number")
        case _:
            return Match(path, vr, value)


def _range(name: str, value: str, form: re.Pattern[str], expected: str) -> str | Range:
    low, dash, high = value.partition("-")
    if any(end and not form.fullmatch(end) for end in (low, high)) or not (low or high):
        raise _bad(name, expected)
    return Range(low, high) if dash else low


def _count(parameters: Sequence[tuple[str, str]], name: str, default: int) -> int:
    values = [value for key, value in parameters if key.lower() == name]
    if not values:
        return default
    if len(values) > 1 or not re.fullmatch(r"\d{1,9}", values[0]):
        raise _bad(name, "one whole number that is not negative")
    return int(values[0])


def _included(parameters: Sequence[tuple[str, str]]) -> Iterable[str]:
    for key, value in parameters:
        if key.lower() == "includefield":
            for name in value.split(","):
                path = tag_path(name)
                if path is not None:
                    yield path


def _warnings(parameters: Sequence[tuple[str, str]], ignored: Sequence[str]) -> Iterable[str]:
    if ignored:
        names = sorted({_safe_name(name) for name in ignored})
        yield f"The following query parameters were ignored: {', '.join(names)}"
    for key, value in parameters:
        if key.lower() == "fuzzymatching":
            if value not in ("true", "false"):
                raise _bad("fuzzymatching", "true or false")
            if value == "true":
                yield "The fuzzymatching parameter is not supported. Only literal matching has been performed."


def _safe_name(name: str) -> str:
    """A header may hold no line breaks or quotes, and a client may send anything."""
    tag = _tag(name)
    return (keyword_for_tag(tag) or f"{tag:08X}") if tag is not None else re.sub(r"[^A-Za-z0-9_.-]", "?", name)[:64]


def _bad(name: str, expected: str) -> PlatformError:
    return PlatformError(ErrorCode.INVALID_INPUT, f"query parameter {_safe_name(name)}: expected {expected}")
