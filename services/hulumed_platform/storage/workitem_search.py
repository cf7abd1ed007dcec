"""Attribute matching (PS3.4, section C.2.2.2) over the keys of workitems, the same on both databases."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, String, and_, exists, true, type_coerce
from sqlalchemy.orm import aliased

from hulumed_platform.storage.workitem_models import Workitem, WorkitemKey


@dataclass(frozen=True, slots=True)
class Key:
    """A value by which a workitem is to be found; see `WorkitemKey` for the fields."""

    path: str
    item: str
    value: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """Single value or UID list matching."""

    path: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Like:
    """Wild card matching: `*` is any text, `?` any one character; all else is literal and case counts."""

    path: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Between:
    """Range matching, both ends included; None is open."""

    path: str
    low: str | None
    high: str | None


Match = OneOf | Like | Between

_COLUMNS = {"00741000": type_coerce(Workitem.state, String), "00080018": Workitem.sop_instance_uid}
"""Attributes that are columns of the row itself."""


def conditions(matches: Iterable[Match], dialect: str) -> list[ColumnElement[bool]]:
    """What a workitem must fulfil to match all; matches inside one sequence hold in one and the same item of it."""
    found: list[ColumnElement[bool]] = []
    by_sequence: defaultdict[str, list[Match]] = defaultdict(list)
    for match in matches:
        sequence = match.path.rpartition(".")[0]
        if match.path in _COLUMNS:
            found.append(_holds(match, _COLUMNS[match.path], dialect))
        elif sequence:
            by_sequence[sequence].append(match)
        else:
            found.append(_some_item([match], dialect))
    return found + [_some_item(group, dialect) for group in by_sequence.values()]


def _some_item(matches: Sequence[Match], dialect: str) -> ColumnElement[bool]:
    first = aliased(WorkitemKey)
    clauses = [first.workitem_id == Workitem.id]
    for number, match in enumerate(matches):
        key = aliased(WorkitemKey) if number else first
        if number:
            clauses += [key.workitem_id == first.workitem_id, key.item == first.item]
        clauses += [key.path == match.path, _holds(match, key.value, dialect)]
    return exists().where(*clauses)


def _holds(match: Match, column: Any, dialect: str) -> ColumnElement[bool]:
    condition: ColumnElement[bool]
    match match:
        case OneOf(values=values):
            condition = column.in_(values)
        case Like(pattern=pattern) if dialect == "sqlite":  # whose LIKE takes a for A
            condition = column.op("GLOB")(pattern.replace("[", "[[]"))
        case Like(pattern=pattern):
            condition = column.like(_as_sql(pattern), escape="\\")
        case Between(low=low, high=high):
            condition = and_(true() if low is None else column >= low, true() if high is None else column <= high)
    return condition


def _as_sql(pattern: str) -> str:
    for special in "\\%_":
        pattern = pattern.replace(special, "\\" + special)
    return pattern.replace("*", "%").replace("?", "_")
