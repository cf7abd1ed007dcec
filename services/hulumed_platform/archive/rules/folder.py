"""Facts of a study that is not in SQL: DICOM files, by the same header reader as at the doors, or metadata."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hulumed_platform.archive.header import InstanceHeader, read_header
from hulumed_platform.archive.rules.facts import SeriesSource, StudyFacts, facts_of

_MAX_INSTANCE_BYTES = 4 * 1024**3
"""Of what a deflated one unfolds to."""


def facts_of_files(paths: Iterable[Path]) -> Mapping[str, StudyFacts]:
    """Facts of every study among some DICOM files, by Study Instance UID.

    Raises:
        PlatformError: INVALID_INPUT where a file would be refused at the door.
        OSError: A file cannot be read.
    """
    studies: dict[str, dict[str, list[InstanceHeader]]] = defaultdict(lambda: defaultdict(list))
    for path in paths:
        with path.open("rb") as file:
            header = read_header(file, path.stat().st_size, max_bytes=_MAX_INSTANCE_BYTES)
        studies[header.study_instance_uid][header.series_instance_uid].append(header)
    return {uid: _facts(series) for uid, series in studies.items()}


def facts_of_metadata(instances: Sequence[Mapping[str, Any]]) -> StudyFacts:
    """Facts of the study whose instances' metadata these are, in the DICOM JSON model (PS3.18, annex F)."""
    series: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for instance in instances:
        series[str(instance["0020000E"]["Value"][0])].append(instance)
    sources = [SeriesSource(uid, {}, len(found), found) for uid, found in series.items()]
    return facts_of(instances[0] if instances else {}, sources)


def _facts(series: Mapping[str, list[InstanceHeader]]) -> StudyFacts:
    """As in SQL, the first instance speaks for its series and its study."""
    first = next(iter(series.values()))[0]
    sources = [
        SeriesSource(uid, headers[0].attributes.series, len(headers), [each.attributes.instance for each in headers])
        for uid, headers in series.items()
    ]
    return facts_of(first.attributes.study, sources)
