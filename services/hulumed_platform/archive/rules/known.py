"""Facts of a study that the platform holds."""

from collections.abc import Mapping, Sequence
from typing import Any

from hulumed_platform.archive.rules.facts import SeriesSource, StudyFacts, facts_of
from hulumed_platform.storage.models import Series, Study


def stored_facts(
    study: Study, series: Sequence[Series], instances: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> StudyFacts:
    """What is known of a study in SQL.

    Args:
        study: its row.
        series: the rows of its series.
        instances: what is remembered of their instances, by the series' id; None where no expression asks for it.
    """
    known = instances or {}
    return facts_of(study.attributes or {}, [_source(one, known.get(one.id, ())) for one in series])


def _source(series: Series, instances: Sequence[Mapping[str, Any]]) -> SeriesSource:
    return SeriesSource(
        series.series_instance_uid,
        _with_modality(series),
        series.num_instances,
        instances,
        series.door,
        series.calling_ae_title,
    )


def _with_modality(series: Series) -> Mapping[str, Any]:
    """Rows of the first schema remember nothing but the modality."""
    if series.attributes is None and series.modality is not None:
        return {"00080060": {"vr": "CS", "Value": [series.modality]}}
    return series.attributes or {}
