"""What is known of a study and its series, by the names of expressions. It holds patient data: never log it."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hulumed_platform.archive.rules import names
from hulumed_platform.archive.rules.expression import Value
from hulumed_platform.archive.rules.names import KEYWORD_OF_TAG, KINDS, Kind

Values = Mapping[str, tuple[Value, ...]]
"""Values by name, each once, in the order in which they were met."""

_AGE = re.compile(r"(\d{3})([DWMY])")
_DAYS = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25}


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """A series: its own attributes, its study's, and every value that its instances have."""

    series_instance_uid: str
    known: Values = field(repr=False)

    def values(self, name: str) -> Sequence[Value]:
        """See `expression.Scope`."""
        return self.known.get(name, ())

    @property
    def series(self) -> "Sequence[SeriesFacts]":
        return (self,)


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """A study: its attributes, and every value that its series and their instances have."""

    known: Values = field(repr=False)
    series: Sequence[SeriesFacts] = field(repr=False)

    def values(self, name: str) -> Sequence[Value]:
        """See `expression.Scope`."""
        return self.known.get(name, ())


@dataclass(frozen=True, slots=True)
class SeriesSource:
    """What facts of a series are made of; attributes in the DICOM JSON model."""

    series_instance_uid: str
    attributes: Mapping[str, Any] = field(repr=False)
    num_instances: int
    instances: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    door: str | None = None
    calling_ae_title: str | None = None


def facts_of(study: Mapping[str, Any], series: Sequence[SeriesSource]) -> StudyFacts:
    """Gather what is known, from attributes of the study and of its series."""
    of_study: dict[str, tuple[Value, ...]] = {
        **_known([study]),
        names.NUM_STUDY_SERIES: (float(len(series)),),
        names.NUM_STUDY_INSTANCES: (float(sum(one.num_instances for one in series)),),
    }
    of_series = [_of_series(one) for one in series]
    merged = _merged(of_series)
    if "Modality" in merged:
        of_study[names.MODALITIES] = merged["Modality"]
    facts = [
        SeriesFacts(one.series_instance_uid, {**of_study, **own}) for one, own in zip(series, of_series, strict=True)
    ]
    return StudyFacts({**merged, **of_study}, facts)


def _of_series(series: SeriesSource) -> dict[str, tuple[Value, ...]]:
    known = {
        **_known(series.instances),
        **_known([series.attributes]),
        names.NUM_SERIES_INSTANCES: (float(series.num_instances),),
    }
    for name, value in ((names.DOOR, series.door), (names.CALLING_AE_TITLE, series.calling_ae_title)):
        if value:
            known[name] = (value,)
    return known


def _known(items: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Value, ...]]:
    found: dict[str, dict[Value, None]] = {}
    for attributes in items:
        for tag, element in attributes.items():
            if keyword := KEYWORD_OF_TAG.get(tag):
                values = (_value(keyword, raw) for raw in element.get("Value", ()))
                found.setdefault(keyword, {}).update((value, None) for value in values if value is not None)
    return {keyword: tuple(values) for keyword, values in found.items() if values}


def _merged(parts: Iterable[Values]) -> dict[str, tuple[Value, ...]]:
    found: dict[str, dict[Value, None]] = {}
    for part in parts:
        for name, values in part.items():
            found.setdefault(name, {}).update(dict.fromkeys(values))
    return {name: tuple(values) for name, values in found.items()}


def _value(keyword: str, raw: Any) -> Value | None:
    """One value as it compares; None where there is none, or it is not what its keyword promises."""
    text = str(raw.get("Alphabetic", "") if isinstance(raw, dict) else "" if raw is None else raw).strip()
    if KINDS[keyword] is Kind.TEXT:
        return text or None
    if age := _AGE.fullmatch(text):
        return int(age[1]) * _DAYS[age[2]] / _DAYS["Y"]
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
