"""QIDO-RS: the field's own client finds what was stored, and wrong questions get a reason (PS3.18, section 10.6)."""

import gzip
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from dicomweb_client import DICOMwebClient
from pydicom.uid import generate_uid

from tests.gateway.conftest import RunningGateway
from tests.gateway.dicom import CONTENT_TYPE, instance, multipart

_STUDY_ATTRIBUTES = [
    "00080005", "00080020", "00080030", "00080050", "00080056", "00080061", "00080090", "00081190", "00100010",
    "00100020", "00100030", "00100040", "0020000D", "00200010", "00201206", "00201208",
]  # fmt: skip
"""PS3.18, table 10.6.3-3: what every study has, known or not."""


@pytest.fixture(scope="module")
def patient(gateway: RunningGateway) -> str:
    """A patient of two studies: one of two series with three instances, one of a single instance."""
    patient = generate_uid()[-12:]
    studies = [generate_uid(), generate_uid()]
    series = [generate_uid() for _ in range(3)]
    common = {"PatientID": patient, "PatientName": "Prüfung^Grün", "SpecificCharacterSet": "ISO_IR 100"}
    parts = [
        instance(StudyInstanceUID=studies[0], SeriesInstanceUID=series[0], InstanceNumber=1, StudyID="S1", **common),
        instance(StudyInstanceUID=studies[0], SeriesInstanceUID=series[0], InstanceNumber=2, StudyID="S1", **common),
        instance(StudyInstanceUID=studies[0], SeriesInstanceUID=series[1], Modality="MR", StudyID="S1", **common),
        instance(StudyInstanceUID=studies[1], SeriesInstanceUID=series[2], StudyDate="20250101", **common),
    ]
    answer = gateway.http.post("/dicom-web/studies", content=multipart(*parts), headers={"Content-Type": CONTENT_TYPE})
    assert answer.status_code == 200
    return patient


@pytest.fixture
def client(gateway: RunningGateway) -> DICOMwebClient:
    return DICOMwebClient(f"{gateway.url}/dicom-web")


def get(gateway: RunningGateway, path: str, **headers: str) -> httpx.Response:
    return gateway.http.get(f"/dicom-web{path}", headers=headers)


def values(results: Sequence[dict[str, Any]], tag: str) -> list[Any]:
    return [value for result in results for value in result[tag].get("Value", [])]


def test_study_has_every_attribute_that_the_standard_asks_for(client: DICOMwebClient, patient: str) -> None:
    """Empty ones are there too, in the order of their tags; names are UTF-8 whatever the files have."""
    (study,) = client.search_for_studies(search_filters={"PatientID": patient, "StudyID": "S1"})
    assert set(_STUDY_ATTRIBUTES) <= set(study)
    assert list(study) == sorted(study)
    assert study["00100010"]["Value"] == [{"Alphabetic": "Prüfung^Grün"}]
    assert study["00080005"]["Value"] == ["ISO_IR 192"]
    assert study["00080061"]["Value"] == ["CT", "MR"]
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([2], [3])
    assert study["00080050"] == {"vr": "SH"}


def test_every_level_by_every_path(client: DICOMwebClient, gateway: RunningGateway, patient: str) -> None:
    """Across studies and inside one; retrieve addresses are those of the results."""
    (study,) = values(client.search_for_studies(search_filters={"PatientID": patient, "StudyID": "S1"}), "0020000D")
    assert len(client.search_for_studies(search_filters={"PatientID": patient})) == 2
    assert len(client.search_for_series(search_filters={"PatientID": patient})) == 3
    assert len(client.search_for_instances(search_filters={"PatientID": patient})) == 4
    of_study = client.search_for_series(study)
    assert sorted(values(of_study, "00201209")) == [1, 2]
    assert values(of_study, "00100020") == [patient] * 2
    assert len(client.search_for_instances(study)) == 3
    (series,) = values([one for one in of_study if one["00201209"]["Value"] == [2]], "0020000E")
    instances = client.search_for_instances(study, series)
    assert sorted(values(instances, "00200013")) == [1, 2]
    assert values(instances, "00280010") == [16, 16]
    uid = instances[0]["00080018"]["Value"][0]
    (url,) = values(instances[:1], "00081190")  # this client leaves the port out of its Host header
    assert url.endswith(f"/dicom-web/studies/{study}/series/{series}/instances/{uid}")


def test_addresses_are_those_that_the_client_sees(gateway: RunningGateway, patient: str) -> None:
    """Behind a proxy, with a prefix of its own."""
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "pacs.example", "X-Forwarded-Prefix": "/hospital/"}
    (url, _) = values(get(gateway, f"/studies?PatientID={patient}", **headers).json(), "00081190")
    assert url.startswith("https://pacs.example/hospital/dicom-web/studies/")


def test_includefield(gateway: RunningGateway, patient: str) -> None:
    """By keyword, by tag, several at once, and all."""

    def tags(query: str) -> set[str]:
        return set(get(gateway, f"/instances?PatientID={patient}&{query}").json()[0])

    assert "00080008" not in tags("")
    assert "00281050" not in tags("includefield=all")
    assert {"00280100", "00280010"} <= tags("includefield=BitsAllocated,00280010")
    assert tags("") < tags("includefield=all") | {"00080008"} | tags("")


def test_pages_do_not_overlap_and_say_what_is_left(gateway: RunningGateway, patient: str) -> None:
    """`Warning: 299` names the rest; the last page has none, and one beyond it is empty."""
    pages = [get(gateway, f"/instances?PatientID={patient}&limit=3&offset={offset}") for offset in (0, 3, 6)]
    assert [page.status_code for page in pages] == [200, 200, 200]
    assert "There are 1 additional results that can be requested" in pages[0].headers["Warning"]
    assert pages[0].headers["Warning"].startswith("299 ")
    assert "Warning" not in pages[1].headers
    assert len({*values(pages[0].json(), "00080018"), *values(pages[1].json(), "00080018")}) == 4


def test_nothing_found_is_an_empty_array(gateway: RunningGateway, client: DICOMwebClient) -> None:
    """200 and not 204, which is allowed too: Orthanc cannot read an answer without a body."""
    answer = get(gateway, "/studies?PatientID=nobody&fuzzymatching=true&Nonsense=1")
    assert (answer.status_code, answer.json()) == (200, [])
    assert "fuzzymatching" in answer.headers["Warning"]
    assert "Nonsense" in answer.headers["Warning"]
    assert client.search_for_series("1.2.3.4.5.6.7") == []


@pytest.mark.parametrize(
    "query", ["StudyDate=yesterday", "limit=-1", "offset=x", "StudyInstanceUID=../etc", "fuzzymatching=perhaps"]
)
def test_impossible_value_is_400(gateway: RunningGateway, query: str) -> None:
    """A real peer answered 500; another found everything."""
    assert get(gateway, f"/studies?{query}").status_code == 400


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/dicom+json", 200),
        ("application/json;q=0.5, text/html", 200),
        ("*/*", 200),
        ("text/html, image/gif, *; q=.2", 200),
        ('multipart/related; type="application/dicom+xml", application/dicom+json; q=0.1', 200),
        ('multipart/related; type="application/dicom+xml"', 406),
        ("application/dicom+json;q=0", 406),
        ("image/png", 406),
        ("nonsense", 400),
    ],
)
def test_accept(gateway: RunningGateway, patient: str, accept: str, status: int) -> None:
    """What cannot be had is 406, what is no list of media types 400; the `accept` parameter goes first."""
    path = f"/studies?PatientID={patient}"
    assert get(gateway, path, Accept=accept).status_code == status
    assert gateway.http.get("/dicom-web/studies", params={"PatientID": patient, "accept": accept}).status_code == status


def test_large_answer_is_packed_for_who_can_unpack_it(gateway: RunningGateway, patient: str) -> None:
    """And only for them."""
    path = f"/instances?PatientID={patient}"
    packed = get(gateway, path, **{"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.json()) == 4
    with gateway.http.stream("GET", f"/dicom-web{path}", headers={"Accept-Encoding": "gzip"}) as raw:
        assert len(json.loads(gzip.decompress(b"".join(raw.iter_raw())))) == 4
    plain = get(gateway, path, **{"Accept-Encoding": "gzip;q=0, identity"})
    assert "Content-Encoding" not in plain.headers
    assert plain.headers["Vary"] == "Accept-Encoding"
