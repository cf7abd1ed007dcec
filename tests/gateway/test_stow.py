"""STOW-RS: exact about what is stored and what is not, and hard to break. Rules: PS3.18, section 10.5."""

import gzip
import socket
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

from hulumed_platform.storage.local import LocalObjects
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


def test_dicomweb_client_stores_and_the_study_shows(gateway: RunningGateway) -> None:
    """The field's own client drives the door; the study is receiving, and nothing of the patient shows."""
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
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


def test_gzip_body_is_read(gateway: RunningGateway) -> None:
    """A real peer answered 200 and stored nothing."""
    response = store(gateway, gzip.compress(multipart(instance())), **{"Content-Encoding": "gzip"})
    assert (response.status_code, len(stored(response))) == (200, 1)


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
