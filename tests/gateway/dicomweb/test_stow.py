"""STOW-RS: exact about what is stored and what is not, and hard to break. Rules: PS3.18, section 10.5."""

import gzip
import io
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from hulumed_platform.storage.endings import WHOLE_STUDY_STOW
from hulumed_platform.storage.local import LocalObjects
from hulumed_platform.storage.models import Series, Study
from hulumed_platform.storage.studies import Studies
from tests.gateway.conftest import RunningGateway, serving
from tests.gateway.dicom import CONTENT_TYPE, STUDY, instance, multipart
from tests.support.processes import free_ports


def store(gateway: RunningGateway, body: Any, *, study: str = "", **headers: str) -> httpx.Response:
    path = "/dicom-web/studies" + (f"/{study}" if study else "")
    return gateway.http.post(path, content=body, headers={"Content-Type": CONTENT_TYPE, **headers})


def reasons(response: httpx.Response) -> list[int]:
    """Failure reasons of the instances that were refused, those with a UID first."""
    body = response.json()
    items = [*body.get("00081198", {}).get("Value", []), *body.get("0008119A", {}).get("Value", [])]
    return [item["00081197"]["Value"][0] for item in items]


def stored(response: httpx.Response) -> list[str]:
    items = response.json().get("00081199", {}).get("Value", [])
    return [item["00081155"]["Value"][0] for item in items]


def study_of(gateway: RunningGateway, uid: str) -> tuple[Study, list[Series]]:
    with gateway.door.database.reading() as session:
        found = Studies(session).get(gateway.door.settings.tenant, uid)
        return found, list(Studies(session).series(found.id))


def test_a_whole_study_in_one_request_is_told_to_its_rule(gateway: RunningGateway) -> None:
    """Only where every instance was stored, and only by the address of the study; series remember the door."""
    uid = generate_uid()
    two = multipart(instance(StudyInstanceUID=uid), instance(StudyInstanceUID=uid))
    assert store(gateway, two).status_code == 200
    found, series = study_of(gateway, uid)
    assert (found.ended_by, [one.door for one in series]) == (None, ["dicomweb"])
    assert store(gateway, multipart(instance(StudyInstanceUID=uid), b"none"), study=uid).status_code == 202
    assert study_of(gateway, uid)[0].ended_by is None
    assert store(gateway, multipart(instance(StudyInstanceUID=uid)), study=uid).status_code == 200
    assert study_of(gateway, uid)[0].ended_by == WHOLE_STUDY_STOW


def test_dicomweb_client_stores_and_the_study_shows(gateway: RunningGateway) -> None:
    """The field's own client drives the door; the study is receiving, and nothing of the patient shows."""
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    dataset.StudyInstanceUID, dataset.SOPInstanceUID = generate_uid(), generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    response = DICOMwebClient(f"{gateway.url}/dicom-web").store_instances([dataset])
    assert [item.ReferencedSOPInstanceUID for item in response.ReferencedSOPSequence] == [dataset.SOPInstanceUID]
    assert "FailedSOPSequence" not in response
    study = gateway.http.get(f"/studies/{dataset.StudyInstanceUID}")
    assert study.json()["state"] == "receiving"
    assert study.json()["series"] == [
        {"series_instance_uid": dataset.SeriesInstanceUID, "modality": "CT", "num_instances": 1}
    ]
    assert str(dataset.PatientName) not in study.text


def test_stored_bytes_are_those_that_came(gateway: RunningGateway) -> None:
    """What is acknowledged is in the store, byte by byte."""
    sent = instance()
    assert store(gateway, multipart(sent)).status_code == 200
    tenant = gateway.door.settings.tenant
    objects = [gateway.door.objects.read(tenant, listed.digest) for listed in gateway.door.objects.list(tenant)]
    assert sent in objects


def test_all_stored_is_200_with_addresses_as_the_client_sees_them(gateway: RunningGateway) -> None:
    """Behind a proxy the client gets the proxy's address, not a pod's."""
    response = store(gateway, multipart(instance(), instance()), study=STUDY, Forwarded="proto=https;host=pacs.example")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/dicom+json"
    body = response.json()
    assert body["00081190"]["Value"] == [f"https://pacs.example/dicom-web/studies/{STUDY}"]
    assert len(stored(response)) == 2
    assert "00081198" not in body


def test_some_stored_is_202_with_a_reason_for_each_other(gateway: RunningGateway) -> None:
    """A garbage part, one of another study, a cut-off one and one without UIDs do not cost the good one."""
    good, cut = instance(), instance()[:-100]
    body = multipart(b"garbage", instance(StudyInstanceUID="1.2.3"), cut, good, instance(SOPInstanceUID=None))
    response = store(gateway, body, study=STUDY)
    assert response.status_code == 202
    assert sorted(reasons(response)) == [0xA901, 0xC000, 0xC000, 0xC000]
    assert len(stored(response)) == 1


def test_none_stored_is_409(gateway: RunningGateway) -> None:
    """Never 200 while nothing is stored, as real peers did."""
    response = store(gateway, multipart(b"garbage"))
    assert (response.status_code, reasons(response)) == (409, [0xC000])


def test_resend_is_idempotent_and_conflict_is_refused(gateway: RunningGateway) -> None:
    """The same bytes again are fine; other content under the same UID is reported and changes nothing."""
    uid = generate_uid()
    first = instance(SOPInstanceUID=uid)
    assert store(gateway, multipart(first)).status_code == 200
    revision = gateway.http.get(f"/studies/{STUDY}").json()["revision"]
    assert store(gateway, multipart(first)).status_code == 200
    conflict = store(gateway, multipart(instance(SOPInstanceUID=uid, Rows=8)))
    assert (conflict.status_code, reasons(conflict)) == (409, [0x0111])
    assert gateway.http.get(f"/studies/{STUDY}").json()["revision"] == revision


@pytest.mark.parametrize("uid", ["../../../../../etc/passwd1", "1.2 3.", "abcd", "....", "1..2", "1.2."])
def test_uid_that_is_none_is_refused(gateway: RunningGateway, uid: str) -> None:
    """A UID becomes part of addresses; 64 digits and dots are all it may be (PS3.5, section 9.1)."""
    valid = "1." + "9" * (len(uid) - 2)
    sent = instance(StudyInstanceUID=valid).replace(valid.encode(), uid.encode())
    response = store(gateway, multipart(sent))
    assert (response.status_code, reasons(response)) == (409, [0xC000])


def test_chunked_body_without_length_is_read(gateway: RunningGateway) -> None:
    """dicomweb-client sends no Content-Length."""
    body = multipart(instance())
    response = store(gateway, (body[i : i + 700] for i in range(0, len(body), 700)))
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"--b-1--\r\n", {}, 400),
        (multipart(instance())[:-9], {}, 400),
        (multipart(instance()), {"Content-Type": "application/dicom"}, 415),
        (multipart(instance()), {"Content-Type": "multipart/form-data; boundary=b-1"}, 415),
        (multipart(instance()), {"Content-Type": 'multipart/related; type="text/xml"; boundary=b-1'}, 415),
        (multipart(instance()), {"Content-Type": 'multipart/related; type="application/dicom"'}, 400),
        (multipart(instance()), {"Content-Encoding": "br"}, 415),
        (multipart(instance()), {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(multipart(instance()))[:-20], {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(multipart(b"\0" * 50_000_000)), {"Content-Encoding": "gzip"}, 413),
        (multipart(instance()), {"Accept": "application/dicom+xml"}, 406),
    ],
    ids=[
        "empty", "no part", "cut off", "not multipart", "form data", "other type", "no boundary", "brotli", "not gzip",
        "cut gzip", "gzip bomb", "xml wanted",
    ],
)  # fmt: skip
def test_malformed_request_gets_its_status_and_a_reason(
    gateway: RunningGateway, body: bytes, headers: dict[str, str], status: int
) -> None:
    """400 for bad syntax, 415 for a type, 413 for size, 406 for an answer we do not speak."""
    response = store(gateway, body, **headers)
    assert response.status_code == status, response.text
    assert response.json()["error"]["message"]


def test_part_of_another_type_is_a_failed_part(gateway: RunningGateway) -> None:
    """A report in PDF among the parts is named as refused, not silently dropped."""
    assert store(gateway, multipart(b"%PDF", content_type="application/pdf")).status_code == 409


def test_claim_of_four_gigabytes_is_refused_before_it_is_sent(gateway: RunningGateway) -> None:
    """The sender learns at once, not after an hour."""
    host, port = gateway.url.removeprefix("http://").split(":")
    head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: {host}\r\nContent-Type: {CONTENT_TYPE}\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: 4294967296\r\n\r\n--b-1".encode())
        assert b" 413 " in connection.recv(100)


def test_instance_over_the_limit_is_refused_by_itself(gateway: RunningGateway) -> None:
    """One part too large costs neither the others nor the disk."""
    huge = instance(PixelData=bytes(9_000_000))
    response = store(gateway, multipart(huge, instance()))
    assert (response.status_code, reasons(response), len(stored(response))) == (202, [0xA700], 1)


def test_silent_sender_is_given_up(gateway: RunningGateway) -> None:
    """A connection that sends nothing holds memory and disk for ever."""
    host, port = gateway.url.removeprefix("http://").split(":")
    head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: {host}\r\nContent-Type: {CONTENT_TYPE}\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n5\r\n--b-1\r\n".encode())
        assert b" 408 " in connection.recv(100)


def test_store_that_is_away_is_503_and_nothing_is_acknowledged(gateway: RunningGateway, tmp_path: Path) -> None:
    """No row without its bytes; the sender is told to come again, and then it works."""
    objects = LocalObjects(tmp_path / "objects")
    (tmp_path / "objects").rename(tmp_path / "away")
    settings = gateway.door.settings.model_copy(update={"port": free_ports(1)[0]})
    body, study = multipart(instance(StudyInstanceUID="1.2.3.503")), "1.2.3.503"
    headers = {"Content-Type": CONTENT_TYPE}
    with serving(replace(gateway.door, settings=settings, objects=objects)) as url, httpx.Client(base_url=url) as http:
        response = http.post("/dicom-web/studies", content=body, headers=headers)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
        assert http.get(f"/studies/{study}").status_code == 404
        assert http.get("/readyz").status_code == 503
        (tmp_path / "away").rename(tmp_path / "objects")
        assert http.post("/dicom-web/studies", content=body, headers=headers).status_code == 200


def test_sender_that_leaves_in_the_middle_leaves_nothing_half_stored(gateway: RunningGateway) -> None:
    """What was whole is stored and can be sent again; the cut part is nowhere."""
    whole, cut = instance(), instance()
    body = multipart(whole, cut)
    host, port = gateway.url.removeprefix("http://").split(":")
    head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: {host}\r\nContent-Type: {CONTENT_TYPE}\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-300])
    assert store(gateway, multipart(whole)).status_code == 200
    tenant = gateway.door.settings.tenant
    for listed in gateway.door.objects.list(tenant):
        assert gateway.door.objects.read(tenant, listed.digest) != cut[: len(cut) - 290]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_requests_never_break_the_door(gateway: RunningGateway, data: st.DataObject) -> None:
    """Flipped, cut and doubled bytes end in an answer below 500, and the next good request works."""
    body = bytearray(multipart(instance(SOPInstanceUID="1.2.3.4"), instance(SOPInstanceUID="1.2.3.5")))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "double"])):
            case "flip":
                body[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del body[at : at + 50]
            case "double":
                body[at:at] = body[at : at + 50]
    assert store(gateway, bytes(body)).status_code < 500


def test_real_files_of_many_transfer_syntaxes_are_taken_as_they_are(gateway: RunningGateway) -> None:
    """The door decodes nothing, so compression does not matter."""
    for name in ("JPEG2000.dcm", "MR_small_RLE.dcm", "JPEG-LL.dcm", "image_dfl.dcm", "ExplVR_BigEnd.dcm"):
        path = Path(str(get_testdata_file(name, download=False)))
        assert store(gateway, multipart(path.read_bytes())).status_code == 200, name


def test_malformed_request_stores_nothing(gateway: RunningGateway) -> None:
    """PS3.18, section 10.5.3.1: 400 is none stored, also of parts that were whole before the fault."""
    study = generate_uid()
    body = multipart(instance(StudyInstanceUID=study), instance(StudyInstanceUID=study))
    assert store(gateway, body[:-9]).status_code == 400
    assert gateway.http.get(f"/studies/{study}").status_code == 404
    assert store(gateway, body).status_code == 200


@pytest.mark.parametrize(
    "pack", [gzip.compress, zlib.compress, lambda body: gzip.compress(body[:999]) + gzip.compress(body[999:])]
)
def test_packed_body_is_read(gateway: RunningGateway, pack: Callable[[bytes], bytes]) -> None:
    """gzip in one member or several, and deflate; a real peer answered 200 and stored nothing."""
    encoding = "deflate" if pack is zlib.compress else "gzip"
    response = store(gateway, pack(multipart(instance())), **{"Content-Encoding": encoding})
    assert (response.status_code, len(stored(response))) == (200, 1)


@pytest.mark.parametrize("boundary", ["b", "0'()+_,-./:=?x", "a" * 70, "two words", "b" * 73])
@pytest.mark.parametrize(
    "head",
    [
        'multipart/related; boundary="{}"; type=application/dicom',
        'Multipart/Related;TYPE="Application/DICOM";BOUNDARY="{}"',
        'multipart/related; boundary="{}"',
    ],
)
def test_any_boundary_of_rfc_2046(gateway: RunningGateway, head: str, boundary: str) -> None:
    """Quoted wherever it has characters that need it, in any order and case; a real peer answered 415.

    Orthanc's own have three characters more than RFC 2046 allows.
    """
    body = b"a preamble\r\n" + multipart(instance()).replace(b"--b-1", b"--" + boundary.encode()) + b"\r\nan epilogue"
    response = store(gateway, body, **{"Content-Type": head.format(boundary)})
    assert (response.status_code, len(stored(response))) == (200, 1)


@pytest.mark.parametrize(
    "headers", ["", "Content-Type: application/dicom;transfer-syntax=1.2.840.10008.1.2\r\nX: y\r\n"]
)
def test_headers_of_a_part_do_not_matter(gateway: RunningGateway, headers: str) -> None:
    """Without a type, or with a transfer syntax that the file itself contradicts: a real peer dropped the part."""
    body = multipart(instance()).replace(b"Content-Type: application/dicom\r\n", headers.encode())
    response = store(gateway, body)
    assert (response.status_code, len(stored(response))) == (200, 1)


def test_boundary_in_pixel_data_and_a_hundred_parts(gateway: RunningGateway) -> None:
    """Only a delimiter on a line of its own ends a part."""
    parts = [instance(PixelData=b"\r\n--b-1x--b-1--\r\n".ljust(512, b"-")) for _ in range(120)]
    response = store(gateway, multipart(*parts))
    assert (response.status_code, len(stored(response))) == (200, 120)


def test_several_studies_in_one_request(gateway: RunningGateway) -> None:
    """Each is stored; the answer has no address of one study then (0008,1190 would be wrong for the others)."""
    studies = [generate_uid() for _ in range(3)]
    response = store(gateway, multipart(*(instance(StudyInstanceUID=study) for study in studies)))
    assert response.status_code == 200
    assert response.json()["00081190"] == {"vr": "UR"}
    assert all(gateway.http.get(f"/studies/{study}").status_code == 200 for study in studies)


def test_class_and_syntax_that_are_none_have_their_reasons(gateway: RunningGateway) -> None:
    """0122 for a SOP Class that is no storage, C122 for a transfer syntax that is none; private ones are kept."""
    verification = instance(SOPClassUID="1.2.840.10008.1.1")
    no_syntax = instance().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.113619.5.2\0\0")
    wrong = instance().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.40\0\0")
    private = instance(SOPClassUID="1.2.3.4.5")
    response = store(gateway, multipart(verification, no_syntax, wrong, private))
    assert (response.status_code, reasons(response), len(stored(response))) == (202, [0x0122, 0xC122], 2)


def test_expect_100_continue_is_answered_before_the_body(gateway: RunningGateway) -> None:
    """A sender that asks first learns of a refusal without having sent its gigabytes."""
    body = multipart(instance())
    host, port = gateway.url.removeprefix("http://").split(":")
    for content_type, answer in ((CONTENT_TYPE, b" 100 "), ("text/plain", b" 415 ")):
        head = (
            f"POST /dicom-web/studies HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\n"
            f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(head.encode())
            assert answer in connection.recv(100)
            if answer == b" 100 ":
                connection.sendall(body)
                assert b" 200 " in connection.recv(100)


def test_too_many_instances_are_refused_together(gateway: RunningGateway, tmp_path: Path) -> None:
    """What waits for the end of the body is bounded."""
    settings = gateway.door.settings.model_copy(update={"port": free_ports(1)[0], "max_stow_instances": 2})
    study, headers = generate_uid(), {"Content-Type": CONTENT_TYPE}
    body = multipart(*(instance(StudyInstanceUID=study) for _ in range(3)))
    with serving(replace(gateway.door, settings=settings)) as url:
        assert httpx.post(f"{url}/dicom-web/studies", content=body, headers=headers).status_code == 413
    assert gateway.http.get(f"/studies/{study}").status_code == 404


def test_body_that_takes_too_long_is_given_up(gateway: RunningGateway) -> None:
    """However awake the sender: bytes without rows must not wait until they are collected as orphans."""
    settings = gateway.door.settings.model_copy(update={"port": free_ports(1)[0], "stow_timeout_s": 0.5})

    def slowly() -> Iterator[bytes]:
        for byte in multipart(instance())[:50]:
            yield bytes([byte])
            time.sleep(0.05)

    with serving(replace(gateway.door, settings=settings)) as url:
        answer = httpx.post(f"{url}/dicom-web/studies", content=slowly(), headers={"Content-Type": CONTENT_TYPE})
    assert answer.status_code == 408


def test_resend_under_another_file_meta_is_the_same_instance(gateway: RunningGateway) -> None:
    """Gateways in between write their own file meta (a real server answered 409 then); the data set decides."""
    first = instance()
    other = pydicom.dcmread(io.BytesIO(first))
    other.file_meta.ImplementationVersionName = "GATEWAY_1"
    buffer = io.BytesIO()
    other.save_as(buffer)
    assert store(gateway, multipart(first)).status_code == 200
    revision = gateway.http.get(f"/studies/{STUDY}").json()["revision"]
    again = store(gateway, multipart(buffer.getvalue()))
    assert (again.status_code, len(stored(again))) == (200, 1)
    assert gateway.http.get(f"/studies/{STUDY}").json()["revision"] == revision
    other.Rows = 8
    buffer = io.BytesIO()
    other.save_as(buffer)
    assert reasons(store(gateway, multipart(buffer.getvalue()))) == [0x0111]
