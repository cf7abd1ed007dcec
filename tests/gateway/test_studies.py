"""Studies, reports and health as a client reads them."""

import json
import socket
from datetime import UTC, datetime, timedelta

from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hulumed_platform.gateway.app import create_app
from hulumed_platform.storage.records import ReportRecord
from hulumed_platform.storage.studies import Studies
from hulumed_platform.storage.workflow import Workflow
from tests.gateway.conftest import RunningGateway
from tests.gateway.dicom import CONTENT_TYPE, instance, multipart


def reported(gateway: RunningGateway, study: str) -> None:
    """Post a study and give it a report, as the worker does."""
    headers = {"Content-Type": CONTENT_TYPE}
    body = multipart(instance(StudyInstanceUID=study))
    gateway.http.post("/dicom-web/studies", content=body, headers=headers).raise_for_status()
    tenant, now = gateway.door.settings.tenant, datetime.now(UTC)
    evidence = gateway.door.objects.put(tenant, [json.dumps({"items": [{"kind": "image"}]}).encode()])
    report = ReportRecord(
        text="Findings: none.",
        finish_reason="stop",
        model_label="untrained",
        trained=False,
        prompt_tokens=20,
        completion_tokens=5,
        visual_tokens_before=16,
        visual_tokens_after=16,
        provenance={"checkpoint_digest": "sha256:ab"},
        evidence_digest=evidence.digest,
        created_at=now,
    )
    with gateway.door.database.session() as session:
        workflow = Workflow(session)
        workflow.complete_quiet(now + timedelta(seconds=60), 0)
        claim = workflow.claim(Studies(session).get(tenant, study).id, "test", now, 60)
        assert claim is not None
        assert workflow.finish(claim, report)


def test_report_is_read_with_its_provenance_and_evidence(gateway: RunningGateway) -> None:
    """A draft is plainly preliminary, and what it stands on is one request away."""
    study = "1.2.826.0.1.3680043.8.498.5"
    reported(gateway, study)
    assert gateway.http.get(f"/studies/{study}").json()["state"] == "reported"
    report = gateway.http.get(f"/studies/{study}/reports/latest").json()
    assert (report["status"], report["trained"], report["text"]) == ("preliminary", False, "Findings: none.")
    assert gateway.http.get(f"/studies/{study}/reports").json()["reports"] == [report]
    assert gateway.http.get(f"/studies/{study}/provenance").json() == report["provenance"]
    assert gateway.http.get(f"/studies/{study}/evidence").json()["items"] == [{"kind": "image"}]
    listed = gateway.http.get("/studies", params={"state": "reported"}).json()["studies"]
    assert study in [one["study_instance_uid"] for one in listed]


def test_study_without_report_says_where_it_is(gateway: RunningGateway) -> None:
    """404 with the state: the report will come, it is not lost."""
    study = "1.2.826.0.1.3680043.8.498.6"
    body = multipart(instance(StudyInstanceUID=study))
    gateway.http.post("/dicom-web/studies", content=body, headers={"Content-Type": CONTENT_TYPE}).raise_for_status()
    answer = gateway.http.get(f"/studies/{study}/reports/latest")
    assert answer.status_code == 404
    assert "it is receiving" in answer.json()["error"]["message"]


def test_unknown_or_malformed_uid(gateway: RunningGateway) -> None:
    """Unknown is 404, malformed is 400, and neither is repeated in the answer."""
    assert gateway.http.get("/studies/9.9.9").status_code == 404
    assert gateway.http.get("/studies/DOE^JANE").status_code == 400
    assert gateway.http.get("/studies", params={"state": "lost"}).status_code == 400
    assert gateway.http.get("/nowhere").json()["error"]["code"] == "not_found"


def test_health_readiness_metrics_and_schema(gateway: RunningGateway) -> None:
    """What an orchestrator, a scraper and an integrator read."""
    assert gateway.http.get("/healthz").json() == {"status": "alive"}
    ready = gateway.http.get("/readyz")
    assert (ready.status_code, set(ready.json().values())) == (200, {"ready"})
    metrics = gateway.http.get("/metrics").text
    assert 'hulumed_requests_total{code="200",method="GET /healthz"}' in metrics
    paths = gateway.http.get("/openapi.json").json()["paths"]
    assert {"/v1/chat/completions", "/dicom-web/studies", "/studies/{study_uid}/evidence"} <= set(paths)


def test_what_no_route_knows_is_counted_under_one_name(gateway: RunningGateway) -> None:
    """Methods and addresses that a client makes up must not become series of numbers."""
    for method, path in (("FOO", "/studies"), ("DELETE", "/studies"), ("GET", "/DOE^JANE")):
        assert gateway.http.request(method, path).status_code in (404, 405)
    metrics = gateway.http.get("/metrics").text
    assert 'method="unknown"' in metrics
    assert not any(word in metrics for word in ("FOO", "DELETE /studies", "JANE"))


def test_headers_without_end_are_refused(gateway: RunningGateway) -> None:
    """They are held in memory before anyone has looked at them."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX-Long: " + b"x" * 200_000)
        assert b" 400 " in connection.recv(100)


def test_a_number_that_no_database_holds_is_the_clients_fault(gateway: RunningGateway) -> None:
    """Not an internal error."""
    assert gateway.http.get("/studies", params={"offset": 10**30}).status_code == 400


def test_a_trace_holds_the_route_and_no_address(gateway: RunningGateway) -> None:
    """Addresses hold UIDs, and whatever a client writes into them."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with TestClient(create_app(gateway.door, provider)) as client:
        client.get("/studies/1.2.3.4444?name=DOE")
        client.get("/studies/DOE^JANE")
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["GET /studies/{study_uid}"] * 2
    told = str([dict(span.attributes or {}) for span in spans])
    assert not any(word in told for word in ("4444", "DOE", "JANE"))
