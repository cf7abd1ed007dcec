"""What every call of a room passes: errors become status, a full room makes callers wait, and calls are counted.

Health, reflection and `Describe` pass untouched: a full room must still tell that it is alive.
"""

from __future__ import annotations  # grpc's generic classes are generic in its stubs only

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from hulumed_platform.core import metrics
from hulumed_platform.core.errors import ErrorCode, PlatformError, internal_error
from hulumed_platform.rpc import errors

log = logging.getLogger(__name__)

_UNGUARDED = (
    "/grpc.",
    "/hulumed_platform.rpc.v1.RoomService/",
    "/inference.GRPCInferenceService/Server",
    "/inference.GRPCInferenceService/ModelReady",
)
_POLL_S = 0.1


class Admission:
    """Counts the requests of a room: `max_active` work, `max_waiting` wait their turn, the next one is refused."""

    def __init__(self, max_active: int, max_waiting: int) -> None:
        self._slots = threading.Semaphore(max_active)
        self._limit = max_active + max_waiting
        self._present = 0
        self._lock = threading.Lock()

    @contextmanager
    def slot(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Hold one slot for the time of a request.

        Raises:
            PlatformError: BUSY when the room is full, CANCELLED when the caller left while waiting.
        """
        self._enter()
        try:
            self._wait(context)
            try:
                with metrics.ACTIVE.track_inprogress():
                    yield
            finally:
                self._slots.release()
        finally:
            with self._lock:
                self._present -= 1

    def _enter(self) -> None:
        with self._lock:
            if self._present >= self._limit:
                raise PlatformError(
                    ErrorCode.BUSY, f"the room works on {self._limit} requests already", retry_after_s=1.0
                )
            self._present += 1

    def _wait(self, context: grpc.ServicerContext) -> None:
        with metrics.WAITING.track_inprogress():
            while not self._slots.acquire(timeout=_POLL_S):
                if not context.is_active():
                    raise PlatformError(ErrorCode.CANCELLED, "the caller left while the request waited")


class RoomInterceptor(grpc.ServerInterceptor):
    """Wraps every guarded method of a room with admission, error translation and metrics."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_UNGUARDED):
            return handler
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._guard_stream(handler.unary_stream, method),
                _tolerant(handler.request_deserializer),
                handler.response_serializer,
            )
        assert handler.unary_unary is not None, "rooms have no client-streaming methods"
        return grpc.unary_unary_rpc_method_handler(
            self._guard_unary(handler.unary_unary, method),
            _tolerant(handler.request_deserializer),
            handler.response_serializer,
        )

    def _guard_unary(self, behaviour: Callable[..., Any], method: str) -> Callable[..., Any]:
        def guarded(request: object, context: grpc.ServicerContext) -> Any:
            with self._watch(method, context):
                return behaviour(_readable(request), context)

        return guarded

    def _guard_stream(self, behaviour: Callable[..., Any], method: str) -> Callable[..., Any]:
        def guarded(request: object, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._watch(method, context):
                yield from behaviour(_readable(request), context)

        return guarded

    @contextmanager
    def _watch(self, method: str, context: grpc.ServicerContext) -> Iterator[None]:
        started = time.monotonic()
        code = "ok"
        try:
            with self._admission.slot(context):
                yield
        except GeneratorExit:
            code = ErrorCode.CANCELLED.value
            raise
        except PlatformError as error:
            code = error.code.value
            self._end(context, error, method)
        except Exception:  # the outermost frame of a call: nothing unknown may reach the caller
            hidden = internal_error()
            code = hidden.code.value
            log.exception("internal error", extra={"correlation_id": hidden.correlation_id, "method": method})
            errors.abort(context, hidden)
        finally:
            metrics.REQUESTS.labels(method, code).inc()
            metrics.REQUEST_SECONDS.labels(method).observe(time.monotonic() - started)

    @staticmethod
    def _end(context: grpc.ServicerContext, error: PlatformError, method: str) -> None:
        log.info(
            "request refused",
            extra={"method": method, "code": error.code.value, "correlation_id": error.correlation_id},
        )
        errors.abort(context, error)


class _Malformed:
    """Stands for a request whose bytes are no message."""


def _tolerant(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """Left to itself, gRPC calls such bytes an internal error of the room."""
    assert deserialize is not None, "generated code names one for every method"

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _Malformed()

    return read


def _readable(request: Any) -> Any:
    if isinstance(request, _Malformed):
        raise PlatformError(
            ErrorCode.INVALID_INPUT, "the request is no message of this method; use the published .proto files"
        )
    return request
