"""Passes the trace on to the room that is called.

OpenTelemetry's own client interceptor hands back a bare iterator for streams, without `cancel`; the chain cannot do
without it, so this one adds span and metadata and leaves the call object as it is.
"""

from __future__ import annotations  # grpc's generic classes are generic in its stubs only

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry import propagate, trace

_tracer = trace.get_tracer(__name__)


@dataclass(frozen=True, slots=True)
class _Details(grpc.ClientCallDetails):
    """Call details of our own making: gRPC's are read-only."""

    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class TracingInterceptor(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """One client span a call, its context in the call's metadata."""

    def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Any], Any],
        client_call_details: grpc.ClientCallDetails,
        request: Any,
    ) -> Any:
        return self._traced(continuation, client_call_details, request)

    def intercept_unary_stream(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Any], Any],
        client_call_details: grpc.ClientCallDetails,
        request: Any,
    ) -> Any:
        return self._traced(continuation, client_call_details, request)

    def _traced(
        self, continuation: Callable[[grpc.ClientCallDetails, Any], Any], details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        span = _tracer.start_span(details.method.lstrip("/"), kind=trace.SpanKind.CLIENT)
        call = continuation(_with_context(details, span), request)
        call.add_done_callback(lambda _: span.end())
        return call


def _with_context(details: grpc.ClientCallDetails, span: trace.Span) -> _Details:
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context=trace.set_span_in_context(span))
    return _Details(
        method=details.method,
        timeout=details.timeout,
        metadata=(*(details.metadata or ()), *carrier.items()),
        credentials=details.credentials,
        wait_for_ready=getattr(details, "wait_for_ready", None),
        compression=getattr(details, "compression", None),
    )
