"""A real OpenTelemetry collector as far as tests need one: takes spans over OTLP/gRPC and keeps them."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service


@dataclass(frozen=True)
class Span:
    """What tests look at of a span; ids in hex, `parent_id` empty for the first one."""

    room: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: frozenset[str]


@dataclass
class Collector(service.TraceServiceServicer):
    """Keeps every span that came."""

    endpoint: str = ""
    _spans: list[Span] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def Export(
        self, request: messages.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> messages.ExportTraceServiceResponse:
        with self._lock:
            self._spans += _spans(request)
        return messages.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Span]:
        """All spans so far."""
        with self._lock:
            return list(self._spans)


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """A collector on loopback."""
    servicer = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    service.add_TraceServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    servicer.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer
    server.stop(0).wait()


def _spans(request: messages.ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            yield Span(
                room=names["service.name"].removeprefix("hulumed-"),
                name=span.name,
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                attributes=frozenset(attribute.key for attribute in span.attributes),
            )
