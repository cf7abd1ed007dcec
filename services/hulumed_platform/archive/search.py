"""Finds studies, series and instances by their attributes: QIDO-RS (PS3.18, section 10.6) on SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from hulumed_platform.archive.query import Level, Match, Query, Range
from hulumed_platform.storage import index
from hulumed_platform.storage.models import Instance, Series, Study

_MODALITIES_IN_STUDY = "00080061"
_ESCAPE = "\\"

_KEYS: Mapping[str, tuple[Level, InstrumentedAttribute[Any]]] = {
    "0020000D": (Level.STUDY, Study.study_instance_uid),
    "0020000E": (Level.SERIES, Series.series_instance_uid),
    "00080060": (Level.SERIES, Series.modality),
    "00080018": (Level.INSTANCE, Instance.sop_instance_uid),
    "00080016": (Level.INSTANCE, Instance.sop_class_uid),
}
_COLUMNS: Mapping[str, tuple[Level, InstrumentedAttribute[Any]]] = {
    **_KEYS,
    **{tag: (Level.STUDY, getattr(Study, name)) for name, tag in index.STUDY_COLUMNS.items()},
    **{tag: (Level.SERIES, getattr(Series, name)) for name, tag in index.SERIES_COLUMNS.items()},
    **{tag: (Level.INSTANCE, getattr(Instance, name)) for name, tag in index.INSTANCE_COLUMNS.items()},
}


@dataclass(frozen=True, slots=True)
class Found:
    """A result: the study, from series searches on the series, and from instance searches on the instance."""

    study: Study
    series: Series | None
    instance: Instance | None
    num_series: int = 0
    num_instances: int = 0
    """Of the study or of the series that was found."""
    modalities: tuple[str, ...] = ()


def supported(level: Level) -> list[str]:
    """Paths of the attributes that a search at this level can match."""
    return [_MODALITIES_IN_STUDY, *(path for path, (of, _) in _COLUMNS.items() if of <= level)]


def find(session: Session, tenant: str, level: Level, query: Query) -> tuple[list[Found], int]:
    """The page of results that the query asks for, and how many results come after it."""
    conditions = [Study.tenant == tenant, *(_condition(match) for match in query.matches)]
    total = session.execute(_joined(select(func.count()).select_from(Study), level).where(*conditions)).scalar_one()
    page = (
        _joined(select(*_ENTITIES[level]), level)
        .where(*conditions)
        .order_by(*_ORDER[level])
        .limit(query.limit)
        .offset(query.offset)
    )
    rows = [tuple(row) for row in session.execute(page)]
    found = _with_counts(session, level, rows)
    return found, max(0, total - query.offset - len(rows))


_ENTITIES = {
    Level.STUDY: (Study,),
    Level.SERIES: (Study, Series),
    Level.INSTANCE: (Study, Series, Instance),
}
_ORDER = {
    Level.STUDY: (Study.created_at.desc(), Study.id),
    Level.SERIES: (Study.created_at.desc(), Study.id, Series.series_instance_uid),
    Level.INSTANCE: (Study.created_at.desc(), Study.id, Series.series_instance_uid, Instance.sop_instance_uid),
}


def _joined(statement: Any, level: Level) -> Any:
    if level >= Level.SERIES:
        statement = statement.join(Series, Series.study_id == Study.id)
    if level >= Level.INSTANCE:
        statement = statement.join(Instance, Instance.series_id == Series.id)
    return statement


def _condition(match: Match) -> ColumnElement[bool]:
    if match.path == _MODALITIES_IN_STUDY:
        other = Series.__table__.alias()
        return exists().where(other.c.study_id == Study.id, _matches(other.c.modality, match))
    _, column = _COLUMNS[match.path]
    return _matches(column, match)


def _matches(column: Any, match: Match) -> ColumnElement[bool]:
    match match.value:
        case tuple() as uids:
            return column.in_(uids)  # type: ignore[no-any-return]
        case Range(low, high):
            return _within(column, low, high)
        case str() as value if match.vr == "PN":
            return _named(column, value)
        case str() as value if match.is_pattern:
            return column.like(_like(value), escape=_ESCAPE)  # type: ignore[no-any-return]
        case value:
            return column == value  # type: ignore[no-any-return]


def _within(column: Any, low: str, high: str) -> ColumnElement[bool]:
    """Ends are as precise as they are written: 1030 as the upper end takes in all of that minute."""
    ends = []
    if low:
        ends.append(column >= low)
    if high:
        ends.append(column <= (high if len(high) == 8 else high.ljust(6, "9") + ("" if "." in high else ".999999")))
    return and_(*ends)


def _named(column: Any, name: str) -> ColumnElement[bool]:
    """Names match whatever their case, in any of their three writings (PS3.4, section C.2.2.2.1)."""
    pattern = _like(name.rstrip("^ ").lower())
    column = func.lower(column)
    forms = (pattern, f"{pattern}=%", f"%={pattern}", f"%={pattern}=%")
    return or_(*(column.like(form, escape=_ESCAPE) for form in forms))


def _like(pattern: str) -> str:
    """A pattern with * and ? as one of SQL."""
    for special in (_ESCAPE, "%", "_"):
        pattern = pattern.replace(special, _ESCAPE + special)
    return pattern.replace("*", "%").replace("?", "_")


def _with_counts(session: Session, level: Level, rows: Sequence[tuple[Any, ...]]) -> list[Found]:
    match level:
        case Level.STUDY:
            counts = _study_counts(session, [study.id for (study,) in rows])
            return [Found(study, None, None, *counts.get(study.id, (0, 0, ()))) for (study,) in rows]
        case Level.SERIES:
            numbers = _instance_counts(session, [series.id for _, series in rows])
            return [Found(study, series, None, num_instances=numbers.get(series.id, 0)) for study, series in rows]
        case Level.INSTANCE:
            return [Found(*row) for row in rows]


def _study_counts(session: Session, study_ids: list[str]) -> dict[str, tuple[int, int, tuple[str, ...]]]:
    rows = session.execute(
        select(Series.study_id, Series.id, Series.modality, func.count(Instance.id))
        .join(Instance, Instance.series_id == Series.id)
        .where(Series.study_id.in_(study_ids))
        .group_by(Series.study_id, Series.id, Series.modality)
    ).all()
    counts: dict[str, tuple[int, int, tuple[str, ...]]] = {}
    for study_id, _, modality, number in rows:
        num_series, num_instances, modalities = counts.get(study_id, (0, 0, ()))
        seen = {*modalities, *([modality] if modality else [])}
        counts[study_id] = (num_series + 1, num_instances + number, tuple(sorted(seen)))
    return counts


def _instance_counts(session: Session, series_ids: list[str]) -> dict[str, int]:
    rows = session.execute(
        select(Instance.series_id, func.count()).where(Instance.series_id.in_(series_ids)).group_by(Instance.series_id)
    )
    return {row[0]: row[1] for row in rows}
