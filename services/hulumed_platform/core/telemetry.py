"""Traces (OpenTelemetry) and metrics (Prometheus) of one process."""

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import start_http_server

from hulumed_platform.core.logging import configure_logging
from hulumed_platform.core.settings import RoomSettings
from hulumed_platform.core.version import PLATFORM_VERSION

_EXPORT_TIMEOUT_S = 2
"""A collector that is away must not hold up a room that drains."""


def configure_telemetry(room: str, settings: RoomSettings) -> None:
    """Set up logs, traces and, where a port is given, the Prometheus endpoint. Call it once, first of all."""
    configure_logging(room, settings.log_level)
    resource = Resource.create({"service.name": f"hulumed-{room}", "service.version": PLATFORM_VERSION})
    provider = TracerProvider(resource=resource)
    if settings.otlp_endpoint:
        exporter = OTLPSpanExporter(
            endpoint=settings.otlp_endpoint,
            insecure=settings.otlp_endpoint.startswith("http://"),
            timeout=_EXPORT_TIMEOUT_S,
        )
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
    trace.set_tracer_provider(provider)
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr=settings.metrics_host)


def flush_traces() -> None:
    """Export what is still buffered; a draining room calls it last."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()
