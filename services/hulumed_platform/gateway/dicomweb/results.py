"""Results of searches in the DICOM JSON model, with the attributes of PS3.18, tables 10.6.3-3 to 10.6.3-5."""

from typing import Any

from pydicom.datadict import dictionary_VR

from hulumed_platform.archive.query import Level, Query
from hulumed_platform.archive.search import Found

_STUDY = ("00080020", "00080030", "00080050", "00080090", "00100010", "00100020", "00100030", "00100040", "00200010")
_SERIES = ("00080060", "00200011")
_INSTANCE = ("00080016", "00200013")
"""Returned always, without a value where the archive knows none."""
_IF_KNOWN = {
    Level.STUDY: ("00080201",),
    Level.SERIES: ("00080201", "0008103E", "00400244", "00400245", "00400275"),
    Level.INSTANCE: ("00080201", "00080008", "00280008", "00280010", "00280011", "00280100"),
}
_UTF8 = {"vr": "CS", "Value": ["ISO_IR 192"]}
_ONLINE = {"vr": "CS", "Value": ["ONLINE"]}


def result(found: Found, level: Level, query: Query, root: str) -> dict[str, Any]:
    """One result; `root` is the address of the service.

    Attributes of higher levels come along, as a client that searches series or instances may not know the study.
    """
    known = _known(found)
    wanted = {*_STUDY, *_IF_KNOWN[Level.STUDY], *query.include, *(match.path[:8] for match in query.matches)}
    if level >= Level.SERIES:
        wanted |= {*_SERIES, *_IF_KNOWN[Level.SERIES]}
    if level >= Level.INSTANCE:
        wanted |= {*_INSTANCE, *_IF_KNOWN[Level.INSTANCE]}
    attributes = known if query.include_all else {tag: known[tag] for tag in wanted & known.keys()}
    always = (*_STUDY, *(_SERIES if level >= Level.SERIES else ()), *(_INSTANCE if level >= Level.INSTANCE else ()))
    empty = {tag: {"vr": dictionary_VR(int(tag, 16))} for tag in always if tag not in attributes}
    return dict(sorted({**attributes, **empty, **_of_archive(found, level, root)}.items()))


def _known(found: Found) -> dict[str, Any]:
    """What the archive remembers of the result and of what it is part of."""
    known: dict[str, Any] = {}
    for row in (found.study, found.series, found.instance):
        if row is not None:
            known |= row.attributes or {}
    return known


def _of_archive(found: Found, level: Level, root: str) -> dict[str, Any]:
    """What the archive says itself: identity, number, availability, address. Character set: JSON is UTF-8."""
    study = found.study.study_instance_uid
    url = f"{root}/studies/{study}"
    attributes = {"00080005": _UTF8, "00080056": _ONLINE, "0020000D": _element("UI", study)}
    if level is Level.STUDY:
        attributes["00080061"] = _element("CS", *found.modalities)
        attributes["00201206"] = _element("IS", found.num_series)
        attributes["00201208"] = _element("IS", found.num_instances)
    if found.series is not None:
        url += f"/series/{found.series.series_instance_uid}"
        attributes["0020000E"] = _element("UI", found.series.series_instance_uid)
        attributes["00080060"] = _element("CS", *filter(None, [found.series.modality]))
    if level is Level.SERIES:
        attributes["00201209"] = _element("IS", found.num_instances)
    if found.instance is not None:
        url += f"/instances/{found.instance.sop_instance_uid}"
        attributes["00080016"] = _element("UI", found.instance.sop_class_uid)
        attributes["00080018"] = _element("UI", found.instance.sop_instance_uid)
    return {**attributes, "00081190": _element("UR", url)}


def _element(vr: str, *values: object) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}
