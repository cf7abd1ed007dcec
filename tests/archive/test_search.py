"""Searches find what QIDO-RS says they find, on both databases."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from hulumed_platform.archive.query import Level, Query, read_query
from hulumed_platform.archive.search import Found, find, supported
from hulumed_platform.core.errors import PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.records import DicomAttributes
from hulumed_platform.storage.studies import Studies
from tests.storage.rows import after, instance

TENANT = "acme"


def element(vr: str, *values: object) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def post(database: Database, study: str, *, name: object, date: str, time: str, modality: str = "CT") -> None:
    """A study of two series of two instances."""
    with database.session() as session:
        for series in (1, 2):
            for number in (1, 2):
                record = instance(number, study=study, series=series, tenant=TENANT, received_at=after(number))
                attributes = DicomAttributes(
                    study={
                        "00080020": element("DA", date),
                        "00080030": element("TM", time),
                        "00100010": element("PN", name),
                        "00100020": element("LO", f"ID_{study[-1]}"),
                    },
                    series={"00200011": element("IS", series)},
                    instance={"00200013": element("IS", number)},
                )
                shown = modality if series == 1 else "SR"
                Studies(session).register(replace(record, attributes=attributes, modality=shown))


@pytest.fixture
def filled(database: Database) -> Database:
    """Three studies."""
    post(database, "1.2.1", name={"Alphabetic": "DOE^JANE"}, date="20250101", time="103045")
    post(database, "1.2.2", name={"Alphabetic": "DOE^JOHN^^^"}, date="20250615", time="1031", modality="MR")
    post(
        database, "1.2.3", name={"Alphabetic": "Yamada^T", "Ideographic": "山田^太郎"}, date="20260101", time="235959.5"
    )
    return database


def search(database: Database, level: Level = Level.STUDY, **parameters: str) -> list[Found]:
    with database.reading() as session:
        return find(session, TENANT, level, read_query(list(parameters.items()), supported(level)))[0]


def uids(found: Sequence[Found]) -> list[str]:
    return sorted(result.study.study_instance_uid for result in found)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "123"),
        ({"PatientName": "DOE^JANE"}, "1"),
        ({"PatientName": "doe^j*"}, "12"),
        ({"00100010": "DOE^JO?N"}, "2"),
        ({"PatientName": "山田*"}, "3"),
        ({"PatientName": "*"}, "123"),
        ({"PatientName": ""}, "123"),
        ({"PatientID": "ID_1"}, "1"),
        ({"PatientID": "ID?1"}, "1"),
        ({"PatientID": "id_1"}, ""),
        ({"PatientID": "IDx1"}, ""),
        ({"PatientID": "%"}, ""),
        ({"StudyInstanceUID": "1.2.1,1.2.3"}, "13"),
        ({"StudyInstanceUID": "1.2.1\\1.2.2"}, "12"),
        ({"StudyDate": "20250615"}, "2"),
        ({"StudyDate": "20250101-20250615"}, "12"),
        ({"StudyDate": "20250616-"}, "3"),
        ({"StudyDate": "-20250101"}, "1"),
        ({"StudyTime": "1030-1030"}, "1"),
        ({"StudyTime": "1030-1031"}, "12"),
        ({"StudyTime": "2359-"}, "3"),
        ({"ModalitiesInStudy": "MR"}, "2"),
        ({"ModalitiesInStudy": "SR"}, "123"),
        ({"ModalitiesInStudy": "C*"}, "13"),
        ({"PatientName": "DOE*", "ModalitiesInStudy": "CT"}, "1"),
    ],
)
def test_studies_are_found(filled: Database, parameters: dict[str, str], expected: str) -> None:
    """PS3.4, section C.2.2.2: single values, lists, wildcards and ranges; an underscore is no wildcard."""
    assert uids(search(filled, Level.STUDY, **parameters)) == [f"1.2.{number}" for number in expected]


def test_counts_and_modalities_of_a_study(filled: Database) -> None:
    """Clients show them without another request."""
    (found,) = search(filled, StudyInstanceUID="1.2.2")
    assert (found.num_series, found.num_instances, found.modalities) == (2, 4, ("MR", "SR"))


def test_lower_levels_are_found_by_attributes_of_higher_ones(filled: Database) -> None:
    """A search of series or instances across studies is relational."""
    series = search(filled, Level.SERIES, PatientName="DOE*", Modality="MR")
    assert [found.series.series_instance_uid for found in series if found.series] == ["1.2.2.1"]
    assert series[0].num_instances == 2
    instances = search(filled, Level.INSTANCE, StudyInstanceUID="1.2.3", SeriesNumber="2", InstanceNumber="1")
    assert [found.instance.sop_instance_uid for found in instances if found.instance] == ["1.2.3.2.1"]


def test_pages_are_disjoint_and_complete(filled: Database) -> None:
    """A client that pages sees every instance once, and how many are left."""
    seen: list[str] = []
    with filled.reading() as session:
        for offset in range(0, 12, 5):
            found, left = find(session, TENANT, Level.INSTANCE, Query(limit=5, offset=offset))
            seen += [result.instance.sop_instance_uid for result in found if result.instance]
            assert left == 12 - len(seen)
    assert len(set(seen)) == len(seen) == 12


def test_tenants_do_not_see_each_other(filled: Database) -> None:
    """The same search by another tenant finds nothing."""
    with filled.reading() as session:
        assert find(session, "other", Level.STUDY, Query()) == ([], 0)


@pytest.mark.parametrize(
    "parameters",
    [
        {"StudyDate": "2025"},
        {"StudyDate": "20251301"},
        {"StudyDate": "-"},
        {"StudyTime": "25"},
        {"StudyInstanceUID": "../etc"},
        {"limit": "-1"},
        {"offset": "x"},
        {"fuzzymatching": "maybe"},
    ],
)
def test_impossible_values_are_refused(parameters: dict[str, str]) -> None:
    """A wrong date must not mean all dates; the value, which may be a name, is not repeated."""
    with pytest.raises(PlatformError, match=f"query parameter {next(iter(parameters))}: expected"):
        read_query(list(parameters.items()), supported(Level.STUDY))


def test_what_cannot_be_honoured_is_told() -> None:
    """Unknown parameters are ignored, but not in silence; a header stays one line."""
    query = read_query(
        [("foo\r\nbar", "1"), ("SliceThickness", "1"), ("fuzzymatching", "true")], supported(Level.STUDY)
    )
    assert query.matches == ()
    assert "foo??bar" in query.warnings[0]
    assert "SliceThickness" in query.warnings[0]
    assert "fuzzymatching" in query.warnings[1]
