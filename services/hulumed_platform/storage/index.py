"""The columns by which studies, series and instances are found, and the DICOM attributes that fill them.

PS3.18, tables 10.6.1-3 to 10.6.1-5, ask for most of these attributes; rules and users ask for the others.
"""

from collections.abc import Mapping
from typing import Any

STUDY_COLUMNS = {
    "study_date": "00080020",
    "study_time": "00080030",
    "accession_number": "00080050",
    "referring_physician_name": "00080090",
    "study_description": "00081030",
    "patient_name": "00100010",
    "patient_id": "00100020",
    "patient_birth_date": "00100030",
    "patient_sex": "00100040",
    "dicom_study_id": "00200010",
}
SERIES_COLUMNS = {
    "series_description": "0008103E",
    "body_part_examined": "00180015",
    "series_number": "00200011",
    "performed_procedure_step_start_date": "00400244",
    "performed_procedure_step_start_time": "00400245",
    "scheduled_procedure_step_id": "00400275.00400009",
    "requested_procedure_id": "00400275.00401001",
}
INSTANCE_COLUMNS = {"instance_number": "00200013"}


def column_values(attributes: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, str | None]:
    """What the columns of a row hold: values as text, several joined by a backslash as DICOM does; None for none."""
    return {column: "\\".join(_texts(attributes, tag)) or None for column, tag in columns.items()}


def _texts(attributes: Mapping[str, Any], tag: str) -> list[str]:
    """The values of an attribute; `sequence.attribute` stands for the attribute in every item."""
    first, _, rest = tag.partition(".")
    values = attributes.get(first, {}).get("Value", [])
    if rest:
        return [text for item in values for text in _texts(item, rest)]
    return [_text(value) for value in values if value is not None]


def _text(value: Any) -> str:
    """A name is written as in a data set: alphabetic=ideographic=phonetic, without empty components at the ends."""
    if not isinstance(value, dict):
        return str(value)
    groups = [value.get(group, "").rstrip("^ ") for group in ("Alphabetic", "Ideographic", "Phonetic")]
    return "=".join(groups).rstrip("=")
