"""QIDO-RS: what is found, by what, and what is said of it (PS3.18, section 10.6)."""

from functools import partial
from typing import Any

from hulumed_platform.dicomweb_check.bench import Bench, Seed
from hulumed_platform.dicomweb_check.reply import value
from hulumed_platform.dicomweb_check.server import DICOM_JSON, Answer
from hulumed_platform.dicomweb_check.service import Service
from hulumed_platform.dicomweb_check.suite import Suite
from hulumed_platform.dicomweb_check.synthetic import Instance, new_uid
from hulumed_platform.dicomweb_check.verdict import advise, offered, require

SUITE = Suite(Service.QIDO)
_STUDY, _SERIES, _SOP = "0020000D", "0020000E", "00080018"
_PATIENT_ID = "00100020"
_STUDY_ATTRIBUTES = (
    "00080020", "00080030", "00080050", "00080061", "00080090", "00081190", "00100010", "00100020", "00100030",
    "00100040", "0020000D", "00200010", "00201206", "00201208",
)  # fmt: skip
"""Table 10.6.3-3, without those that depend on what the server knows."""
_SERIES_ATTRIBUTES = ("00080060", "0008103E", "00081190", "0020000E", "00200011", "00201209")
"""Table 10.6.3-4, of those that the test data have."""
_INSTANCE_ATTRIBUTES = ("00080016", "00080018", "00081190", "00200013", "00280010", "00280011", "00280100")
"""Table 10.6.3-5, of those that the test data have."""


def search(bench: Bench, path: str) -> list[dict[str, Any]]:
    """The matches of a search that must succeed: 204 and an empty array both mean none."""
    answer = bench.server.get(path)
    require(answer.status in (200, 204), f"{path}: {answer}")
    if answer.status == 204:
        return []
    found = answer.json()
    require(isinstance(found, list), f"{path}: {answer}; no array")
    return list(found)


def _uids(matches: list[dict[str, Any]], tag: str) -> set[str]:
    return {str(value(match, tag)) for match in matches}


def _both(seed: Seed) -> set[str]:
    return {seed.first[0].study, seed.second.study}


@SUITE.check(
    "qido-no-match",
    "PS3.18 10.6.3.1",
    sent="a search for a Study Instance UID that nobody has",
    expected="204, or 200 with an empty array",
    writes=False,
)
def no_match(bench: Bench) -> str:
    answer = bench.server.get(f"/studies?StudyInstanceUID={new_uid()}")
    require(answer.status == 204 or (answer.status == 200 and answer.json() == []), answer)
    return str(answer)


@SUITE.check(
    "qido-json", "PS3.18 10.6.3.3", sent="a search for a study", expected=f"200, {DICOM_JSON}, an array of one"
)
def json_array(bench: Bench) -> str:
    study = bench.seed.second.study
    answer = bench.server.get(f"/studies?StudyInstanceUID={study}")
    require(answer.status == 200 and answer.media_type == DICOM_JSON, answer)
    require(_uids(answer.json(), _STUDY) == {study} and len(answer.json()) == 1, answer)
    return str(answer)


@SUITE.check(
    "qido-study-attributes",
    "PS3.18 10.6.3.3.1",
    sent="a search for a study",
    expected=f"the {len(_STUDY_ATTRIBUTES)} attributes that every study has",
)
def study_attributes(bench: Bench) -> str:
    study = bench.seed.first[0].study
    return _expect_attributes(bench, f"/studies?StudyInstanceUID={study}", _STUDY_ATTRIBUTES)


@SUITE.check(
    "qido-series-attributes",
    "PS3.18 10.6.3.3.2",
    sent="a search for a series",
    expected="the attributes that the series has",
)
def series_attributes(bench: Bench) -> str:
    first = bench.seed.first[0]
    path = f"/studies/{first.study}/series?SeriesInstanceUID={first.series}"
    return _expect_attributes(bench, path, _SERIES_ATTRIBUTES)


@SUITE.check(
    "qido-instance-attributes",
    "PS3.18 10.6.3.3.3",
    sent="a search for an instance",
    expected="the attributes that the instance has",
)
def instance_attributes(bench: Bench) -> str:
    first = bench.seed.first[0]
    path = f"/studies/{first.study}/series/{first.series}/instances?SOPInstanceUID={first.sop}"
    return _expect_attributes(bench, path, _INSTANCE_ATTRIBUTES)


@SUITE.check(
    "qido-counts",
    "PS3.18 10.6.3.3.1",
    sent="a search for a study of two series with three instances",
    expected="Number of Study Related Series 2, Instances 3; Modalities in Study CT and MR",
)
def counts(bench: Bench) -> str:
    (match,) = search(bench, f"/studies?StudyInstanceUID={bench.seed.first[0].study}")
    found = int(value(match, "00201206") or 0), int(value(match, "00201208") or 0)
    modalities = sorted(match.get("00080061", {}).get("Value", []))
    require(found == (2, 3) and modalities == ["CT", "MR"], f"{found[0]} series, {found[1]} instances, {modalities}")
    return f"{found[0]} series, {found[1]} instances, {modalities}"


_LEVELS = {
    "qido-level-studies": ("/studies?PatientID={patient}", _STUDY, 2),
    "qido-level-series": ("/series?StudyInstanceUID={study}", _SERIES, 2),
    "qido-level-instances": ("/instances?StudyInstanceUID={study}", _SOP, 3),
    "qido-level-study-series": ("/studies/{study}/series", _SERIES, 2),
    "qido-level-study-instances": ("/studies/{study}/instances", _SOP, 3),
    "qido-level-series-instances": ("/studies/{study}/series/{series}/instances", _SOP, 2),
}


def _expect_level(path: str, tag: str, expected: int, bench: Bench) -> str:
    seed = bench.seed
    first = seed.first[0]
    matches = search(bench, path.format(patient=seed.patient_id, study=first.study, series=first.series))
    found = len(_uids(matches, tag))
    require(found == len(matches) == expected, f"{len(matches)} matches with {found} different UIDs")
    return f"{found} matches"


for _name, (_path, _tag, _expected) in _LEVELS.items():
    SUITE.check(_name, "PS3.18 10.6.1.1", sent=f"GET {_path}", expected=f"{_expected} matches")(
        partial(_expect_level, _path, _tag, _expected)
    )


_MATCHING = {
    "qido-keyword": ("PatientID={patient}", "PS3.18 8.3.4.1", "both"),
    "qido-tag": ("00100020={patient}", "PS3.18 8.3.4.1", "both"),
    "qido-tag-lower-case": ("0020000d={first}", "PS3.18 8.3.4.1", "first"),
    "qido-uid-list": ("StudyInstanceUID={first},{second}", "PS3.4 C.2.2.2.2", "both"),
    "qido-wildcard-star": ("PatientID={half}*", "PS3.4 C.2.2.2.4", "both"),
    "qido-wildcard-question-mark": ("PatientID={patient_but_last}?", "PS3.4 C.2.2.2.4", "both"),
    "qido-percent-encoding": ("PatientID=%44{patient_but_first}", "RFC 3986 2.1", "both"),
    "qido-date": ("PatientID={patient}&StudyDate=20200220", "PS3.4 C.2.2.2.1", "second"),
    "qido-date-range": ("PatientID={patient}&StudyDate=20200101-20200131", "PS3.4 C.2.2.2.5", "first"),
    "qido-date-range-from": ("PatientID={patient}&StudyDate=20200116-", "PS3.4 C.2.2.2.5", "second"),
    "qido-date-range-to": ("PatientID={patient}&StudyDate=-20200116", "PS3.4 C.2.2.2.5", "first"),
    "qido-two-keys": ("PatientID={patient}&AccessionNumber=A2", "PS3.18 8.3.4.1", "second"),
    "qido-modalities-in-study": ("PatientID={patient}&ModalitiesInStudy=MR", "PS3.18 10.6.1.2", "first"),
    "qido-name-wildcard": ("PatientID={patient}&PatientName=Check*", "PS3.4 C.2.2.2.4", "both"),
    "qido-unknown-parameter": ("PatientID={patient}&x-dicomweb-check=1", "PS3.18 8.3.1", "both"),
}


def _expect_matching(query: str, expected: str, bench: Bench) -> str:
    seed = bench.seed
    first, second = seed.first[0].study, seed.second.study
    patient = seed.patient_id
    filled = query.format(
        patient=patient,
        half=patient[:-2],
        patient_but_last=patient[:-1],
        patient_but_first=patient[1:],
        first=first,
        second=second,
    )
    found = _uids(search(bench, f"/studies?{filled}"), _STUDY)
    wanted = {"both": {first, second}, "first": {first}, "second": {second}}[expected]
    require(found == wanted, f"{len(found & wanted)} of {len(wanted)} studies, and {len(found - wanted)} others")
    return f"{len(found)} of {len(wanted)} studies"


for _name, (_query, _section, _wanted) in _MATCHING.items():
    _studies = "both studies" if _wanted == "both" else f"the {_wanted} study alone"
    SUITE.check(_name, _section, sent=f"GET /studies?{_query}", expected=_studies)(
        partial(_expect_matching, _query, _wanted)
    )


_FIELDS = {
    "qido-includefield-keyword": "includefield=StudyDescription",
    "qido-includefield-tag": "includefield=00081030",
    "qido-includefield-list": "includefield=StudyDescription,PatientAge",
    "qido-includefield-all": "includefield=all",
}


def _expect_field(query: str, bench: Bench) -> str:
    (match,) = search(bench, f"/studies?StudyInstanceUID={bench.seed.second.study}&{query}")
    require(value(match, "00081030") == "DICOMweb check", f"Study Description is {value(match, '00081030')!r}")
    return "Study Description is there"


for _name, _query in _FIELDS.items():
    SUITE.check(_name, "PS3.18 8.3.4.3", sent=f"a search with {_query}", expected="Study Description is in the match")(
        partial(_expect_field, _query)
    )


@SUITE.check(
    "qido-limit-offset",
    "PS3.18 8.3.4.4",
    sent="limit=1 with offset 0, 1 and 2, of two studies",
    expected="one each, different ones, then none",
)
def limit_offset(bench: Bench) -> str:
    seed = bench.seed
    pages = [
        _uids(search(bench, f"/studies?PatientID={seed.patient_id}&limit=1&offset={offset}"), _STUDY)
        for offset in range(3)
    ]
    sizes = [len(page) for page in pages]
    require(sizes == [1, 1, 0] and pages[0] | pages[1] == _both(seed), f"{sizes} matches, or one twice")
    return f"{sizes} matches"


_WRONG = {
    "qido-limit-negative": "limit=-1",
    "qido-limit-no-number": "limit=many",
    "qido-offset-negative": "offset=-1",
    "qido-date-wrong": "StudyDate=yesterday",
    "qido-date-range-wrong": "StudyDate=20200101-20200199",
}


def _expect_bad_request(query: str, bench: Bench) -> str:
    answer = bench.server.get(f"/studies?StudyInstanceUID={new_uid()}&{query}")
    require(answer.status < 500, f"{answer}; the fault is not the server's")
    require(answer.status == 400, answer)
    return str(answer)


for _name, _query in _WRONG.items():
    SUITE.check(_name, "PS3.18 10.6.3.1", sent=f"GET /studies?{_query}", expected="400", writes=False)(
        partial(_expect_bad_request, _query)
    )


@SUITE.check(
    "qido-fuzzymatching",
    "PS3.18 8.3.4.2",
    sent="a search by name with fuzzymatching=true",
    expected="matches that sound alike, or a Warning 299 that says that matching was literal",
)
def fuzzymatching(bench: Bench) -> str:
    seed = bench.seed
    answer = bench.server.get(f"/studies?PatientID={seed.patient_id}&PatientName=Chek&fuzzymatching=true")
    warned = "299" in answer.headers.get("warning", "")
    require(answer.status in (200, 204), answer)
    honoured = answer.status == 200 and _uids(answer.json(), _STUDY) == _both(seed)
    require(honoured or warned, f"{answer}; neither matched nor warned")
    return "honoured" if honoured else str(answer)


@SUITE.check("qido-unacceptable", "PS3.18 8.7.5", sent="a search with Accept: image/png", expected="406", writes=False)
def unacceptable(bench: Bench) -> str:
    answer = bench.server.get(f"/studies?StudyInstanceUID={new_uid()}", "image/png")
    require(answer.status == 406, answer)
    return str(answer)


@SUITE.check(
    "qido-accept-list",
    "RFC 9110 12.5.1",
    sent="Accept: application/xhtml+xml;q=0.9, application/dicom+json;q=0.5, text/*;q=0.1",
    expected=f"200 with {DICOM_JSON}",
)
def accept_list(bench: Bench) -> str:
    accept = "application/xhtml+xml;q=0.9, application/dicom+json;q=0.5, text/*;q=0.1"
    answer = bench.server.get(f"/studies?StudyInstanceUID={bench.seed.second.study}", accept)
    require(answer.status == 200 and answer.media_type == DICOM_JSON, answer)
    return str(answer)


@SUITE.check("qido-accept-any", "PS3.18 8.7.5", sent="a search with Accept: */*", expected=f"200 with {DICOM_JSON}")
def accept_any(bench: Bench) -> str:
    answer = bench.server.get(f"/studies?StudyInstanceUID={bench.seed.second.study}", "*/*")
    require(answer.status == 200 and answer.media_type == DICOM_JSON, answer)
    return str(answer)


@SUITE.check(
    "qido-xml-or-406",
    "PS3.18 8.7.5",
    sent='a search with Accept: multipart/related; type="application/dicom+xml"',
    expected="200 with it, or 406",
)
def xml_or_406(bench: Bench) -> str:
    accept = 'multipart/related; type="application/dicom+xml"'
    answer = bench.server.get(f"/studies?StudyInstanceUID={bench.seed.second.study}", accept)
    require(answer.status == 406 or (answer.ok and answer.media_type == "multipart/related"), answer)
    return str(answer)


@SUITE.check(
    "qido-retrieve-url",
    "PS3.18 10.6.3.3",
    sent="GET of the Retrieve URL of every level",
    expected="the address of the study, series or instance, which answers",
)
def retrieve_url(bench: Bench) -> str:
    instance = bench.seed.first[0]
    offered(Service.WADO not in bench.missing, "nothing to retrieve with")
    for path, tail in _retrieve_urls(instance).items():
        (match,) = search(bench, path)
        url = str(value(match, "00081190"))
        require(url.endswith(tail), f"{path}: the Retrieve URL is {url!r}")
        answer: Answer | None = bench.server.follow(f"{url}/metadata", accept=DICOM_JSON)
        advise(answer is not None, f"{url}: not the host that was asked; set the public address of the server")
        assert answer is not None
        require(answer.status == 200, f"{url}: {answer.status}")
    return "all answer"


def _retrieve_urls(instance: Instance) -> dict[str, str]:
    """What the Retrieve URL of the one match of a search ends with."""
    study = f"/studies/{instance.study}"
    series = f"{study}/series/{instance.series}"
    return {
        f"/studies?StudyInstanceUID={instance.study}": study,
        f"{study}/series?SeriesInstanceUID={instance.series}": series,
        f"{series}/instances?SOPInstanceUID={instance.sop}": instance.path,
    }


@SUITE.check(
    "qido-credentials-needed",
    "PS3.18 8.5",
    sent="a search without the credentials of --header",
    expected="401 or 403",
    writes=False,
)
def credentials_needed(bench: Bench) -> str:
    offered(bool(bench.server.headers), "no credentials were given, so none can be left out")
    answer = bench.server.request("GET", "/studies?limit=1", headers={"Accept": DICOM_JSON}, credentials=False)
    require(answer.status in (401, 403), f"{answer.status} {answer.media_type}")
    return str(answer.status)


def _expect_attributes(bench: Bench, path: str, tags: tuple[str, ...]) -> str:
    (match,) = search(bench, path)
    absent = [tag for tag in tags if tag not in match]
    require(not absent, f"missing: {', '.join(absent)}")
    return f"all {len(tags)} are there"
