"""Storage commitment over HTTP: exact for every instance, and the same when asked again. Rules: PS3.18, section 13."""

from typing import Any

import httpx
import pytest
from pydicom.uid import CTImageStorage, MRImageStorage, generate_uid

from hulumed_platform.storage.studies import Studies
from tests.gateway.dicom import CONTENT_TYPE, instance, multipart
from tests.support.worklist import WorklistDesk, element


def stored(desk: WorklistDesk) -> tuple[str, str]:
    """Study and SOP Instance UID of an instance that came by STOW-RS."""
    study, uid = generate_uid(), generate_uid()
    body = multipart(instance(StudyInstanceUID=study, SeriesInstanceUID=generate_uid(), SOPInstanceUID=uid))
    response = desk.http.post("/dicom-web/studies", content=body, headers={"Content-Type": CONTENT_TYPE})
    assert response.status_code == 200, response.text
    return study, uid


def request(desk: WorklistDesk, *references: tuple[str, str], transaction: str | None = None) -> httpx.Response:
    items = [{"00081150": element("UI", sop_class), "00081155": element("UI", uid)} for sop_class, uid in references]
    return desk.post(f"commitment-requests/{transaction or generate_uid()}", {"00081199": element("SQ", *items)})


def answer(response: httpx.Response) -> tuple[list[str], list[tuple[str, int]]]:
    """UIDs that are committed, and those that are not with the reason."""
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    kept = [item["00081155"]["Value"][0] for item in body.get("00081199", {}).get("Value", [])]
    failed = [
        (item["00081155"]["Value"][0], item["00081197"]["Value"][0])
        for item in body.get("00081198", {}).get("Value", [])
    ]
    return kept, failed


def test_what_was_acknowledged_is_committed(desk: WorklistDesk) -> None:
    """Each instance by itself; an empty sequence is left out."""
    _, uid = stored(desk)
    response = request(desk, (CTImageStorage, uid))
    assert answer(response) == ([uid], [])
    assert set(response.json()) == {"00081199"}
    assert response.headers["content-type"] == "application/dicom+json"


def test_what_is_not_here_is_told_with_its_reason(desk: WorklistDesk) -> None:
    """0112 no such instance, 0119 another class (PS3.3, section C.14.1.1)."""
    _, uid = stored(desk)
    _, other = stored(desk)
    response = request(desk, (CTImageStorage, "1.2.3.4"), (CTImageStorage, uid), (MRImageStorage, other))
    assert answer(response) == ([uid], [("1.2.3.4", 0x0112), (other, 0x0119)])


def test_an_object_that_is_gone_is_not_committed_until_it_is_sent_again(desk: WorklistDesk) -> None:
    """A row alone is no promise; the same instance again heals it."""
    study, uid = stored(desk)
    tenant = desk.door.settings.tenant
    with desk.door.database.reading() as session:
        studies = Studies(session)
        (row,) = studies.instances(studies.get(tenant, study).id)
    content = desk.door.objects.read(tenant, row.digest)
    desk.door.objects.delete(tenant, row.digest)
    assert answer(request(desk, (CTImageStorage, uid))) == ([], [(uid, 0x0112)])
    desk.http.post("/dicom-web/studies", content=multipart(content), headers={"Content-Type": CONTENT_TYPE})
    assert answer(request(desk, (CTImageStorage, uid))) == ([uid], [])


def test_the_answer_can_be_read_again(desk: WorklistDesk) -> None:
    """The result check (section 13.5), for who did not hear it; under another UID there is none."""
    transaction = generate_uid()
    first = request(desk, (CTImageStorage, stored(desk)[1]), (CTImageStorage, "1.2.3"), transaction=transaction)
    again = desk.get(f"commitment-requests/{transaction}")
    assert (again.status_code, again.json()) == (200, first.json())
    assert desk.get("commitment-requests/1.2.3.4").status_code == 404


def test_a_transaction_uid_is_used_once(desk: WorklistDesk) -> None:
    """409, and the first answer stands."""
    transaction = generate_uid()
    _, uid = stored(desk)
    assert answer(request(desk, (CTImageStorage, uid), transaction=transaction)) == ([uid], [])
    assert request(desk, (CTImageStorage, "1.2.3"), transaction=transaction).status_code == 409
    assert answer(desk.get(f"commitment-requests/{transaction}")) == ([uid], [])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"00081199": element("SQ")}, 400),
        ({"00081199": element("SQ", {"00081155": element("UI", "1.2")})}, 400),
        ({"00081199": element("SQ", {"00081150": element("UI", "1.2"), "00081155": element("UI", "x")})}, 400),
    ],
)
def test_malformed_requests_are_refused(desk: WorklistDesk, body: dict[str, Any], status: int) -> None:
    """And leave their Transaction UID free."""
    transaction = generate_uid()
    assert desk.post(f"commitment-requests/{transaction}", body).status_code == status
    assert request(desk, (CTImageStorage, "1.2"), transaction=transaction).status_code == 200


def test_types_and_addresses_are_checked(desk: WorklistDesk) -> None:
    """406, 415 and 400."""
    body = {"00081199": element("SQ", {"00081150": element("UI", "1.2"), "00081155": element("UI", "1.2")})}
    assert desk.post("commitment-requests/1.2.9", body, Accept="text/html").status_code == 406
    assert desk.post("commitment-requests/1.2.9", body, **{"Content-Type": "text/plain"}).status_code == 415
    assert desk.post("commitment-requests/abc", body).status_code == 400
