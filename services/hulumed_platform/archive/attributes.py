"""What the archive remembers of a data set, by level, in the DICOM JSON model (PS3.18, annex F).

These are the attributes that searches match and return (PS3.18, tables 10.6.1-3 to 10.6.1-5) and that rules read. They
hold names and birth dates: they go into SQL and back to who asked, never into a log line or a message.
"""

import math
from collections.abc import Iterable
from typing import Any

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from hulumed_platform.storage.records import DicomAttributes

STUDY_KEYWORDS = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "TimezoneOffsetFromUTC",
    "StudyDescription",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "StudyInstanceUID",
    "StudyID",
)
SERIES_KEYWORDS = (
    "Modality",
    "Manufacturer",
    "InstitutionName",
    "StationName",
    "SeriesDescription",
    "ManufacturerModelName",
    "BodyPartExamined",
    "ProtocolName",
    "SeriesInstanceUID",
    "SeriesNumber",
    "Laterality",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "RequestAttributesSequence",
)
INSTANCE_KEYWORDS = (
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "InstanceNumber",
    "ViewPosition",
    "ContrastBolusAgent",
    "SliceThickness",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
)
TAGS = tuple(
    sorted(tag for name in (*STUDY_KEYWORDS, *SERIES_KEYWORDS, *INSTANCE_KEYWORDS) if (tag := tag_for_keyword(name)))
)

_MAX_VALUE_CHARS = 1024
"""Longer values are not remembered: the longest VR that is matched, LO, has 64 characters."""


def remembered(dataset: Dataset) -> DicomAttributes:
    """The attributes of each level that the data set has; one that cannot be written as JSON is left out."""
    return DicomAttributes(
        study=_as_json(dataset, STUDY_KEYWORDS),
        series=_as_json(dataset, SERIES_KEYWORDS),
        instance=_as_json(dataset, INSTANCE_KEYWORDS),
    )


def _as_json(dataset: Dataset, keywords: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for keyword in keywords:
        tag = tag_for_keyword(keyword)
        if tag is None or tag not in dataset:
            continue
        try:
            element = dataset[tag].to_json_dict(None, 1024)
        except Exception:  # noqa: BLE001, S112  a malformed value costs its own attribute, never the instance
            continue
        if len(str(element)) <= _MAX_VALUE_CHARS:
            found[f"{tag:08X}"] = _storable(element)
    return found


def _storable(value: Any) -> Any:
    """Without NUL, which PostgreSQL cannot hold, and without lone surrogates, which no encoding can."""
    match value:
        case str():
            return value.replace("\x00", "").encode(errors="replace").decode()
        case list():
            return [_storable(item) for item in value]
        case dict():
            return {key: _storable(item) for key, item in value.items()}
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
