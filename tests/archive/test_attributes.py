"""What the archive remembers of a header: enough for searches and rules, and never a reason to refuse an instance."""

import io

from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import Tag

from hulumed_platform.archive.attributes import remembered
from hulumed_platform.archive.header import read_header
from tests.gateway.dicom import instance


def test_each_level_has_its_attributes() -> None:
    """Patient and study go to the study, the modality to the series, the number to the instance."""
    data = instance(StudyDescription="CT HEAD", AccessionNumber="A1", InstanceNumber=7)
    attributes = read_header(io.BytesIO(data), len(data), max_bytes=len(data)).attributes
    assert attributes.study["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "DOE^JANE"}]}
    assert attributes.study["00081030"]["Value"] == ["CT HEAD"]
    assert attributes.series["00080060"]["Value"] == ["CT"]
    assert attributes.instance["00200013"]["Value"] == [7]
    assert "00080060" not in attributes.study | attributes.instance


def test_characters_of_every_repertoire_are_read() -> None:
    """A name in kanji is found under its kanji, not under escape sequences."""
    data = instance(SpecificCharacterSet="ISO_IR 192", PatientName="Yamada^Tarou=山田^太郎")
    attributes = read_header(io.BytesIO(data), len(data), max_bytes=len(data)).attributes
    assert attributes.study["00100010"]["Value"] == [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]


@given(st.binary(max_size=64))
def test_malformed_values_cost_their_own_attribute_only(value: bytes) -> None:
    """An instance number of letters must not keep a study from being stored."""
    dataset = Dataset()
    dataset[0x00200013] = RawDataElement(Tag(0x00200013), "IS", len(value), value, 0, False, True)
    dataset[0x00080060] = DataElement(0x00080060, "CS", "CT")
    assert remembered(dataset).series["00080060"]["Value"] == ["CT"]
