"""What expressions may speak of: attributes that the archive remembers, counts, and where a series came from."""

from collections.abc import Mapping
from enum import StrEnum

from pydicom.datadict import dictionary_VR, tag_for_keyword

from hulumed_platform.archive.attributes import INSTANCE_KEYWORDS, SERIES_KEYWORDS, STUDY_KEYWORDS


class Kind(StrEnum):
    """How values of a name compare: numbers with numbers, text with text."""

    NUMBER = "number"
    TEXT = "text"


NUM_STUDY_SERIES = "NumberOfStudyRelatedSeries"
NUM_STUDY_INSTANCES = "NumberOfStudyRelatedInstances"
NUM_SERIES_INSTANCES = "NumberOfSeriesRelatedInstances"
MODALITIES = "ModalitiesInStudy"
DOOR = "Door"
"""`dicomweb` or `dimse`; no attribute of DICOM."""
CALLING_AE_TITLE = "CallingAETitle"
"""Who opened the association that the series came by; no attribute of DICOM."""

_NUMBER_VRS = frozenset({"AS", "DS", "FD", "FL", "IS", "SL", "SS", "UL", "US"})
_NO_VALUE_VRS = frozenset({"SQ"})


def _kind(keyword: str) -> Kind:
    return Kind.NUMBER if dictionary_VR(keyword) in _NUMBER_VRS else Kind.TEXT


_REMEMBERED = {
    keyword: _kind(keyword)
    for keyword in (*STUDY_KEYWORDS, *SERIES_KEYWORDS, *INSTANCE_KEYWORDS)
    if dictionary_VR(keyword) not in _NO_VALUE_VRS
}

KINDS: Mapping[str, Kind] = {
    **_REMEMBERED,
    NUM_STUDY_SERIES: Kind.NUMBER,
    NUM_STUDY_INSTANCES: Kind.NUMBER,
    NUM_SERIES_INSTANCES: Kind.NUMBER,
    MODALITIES: Kind.TEXT,
    DOOR: Kind.TEXT,
    CALLING_AE_TITLE: Kind.TEXT,
}
"""Every name, and how its values compare."""

KEYWORD_OF_TAG: Mapping[str, str] = {f"{tag_for_keyword(keyword):08X}": keyword for keyword in _REMEMBERED}
"""By the eight hex digits of the DICOM JSON model."""

INSTANCE_NAMES = frozenset(INSTANCE_KEYWORDS) & frozenset(KINDS)
"""Names whose values stand in the instances, and cost a look at each of them."""


def fault_of(name: str) -> str | None:
    """Why an expression cannot speak of a name; None where it can."""
    if name in KINDS:
        return None
    if tag_for_keyword(name) is not None:
        return f"{name} is not remembered by the archive; docs/rules.md lists what is"
    return f"{name} is no DICOM keyword"
