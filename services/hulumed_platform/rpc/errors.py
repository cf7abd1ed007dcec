"""PlatformError to gRPC status and back: the one place that knows both."""

from typing import NoReturn, Protocol

import grpc

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.rpc.v1 import errors_pb2

DETAIL_KEY = "hulumed-error-bin"

_STATUS = {
    ErrorCode.INVALID_INPUT: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
    ErrorCode.TOO_LARGE: grpc.StatusCode.OUT_OF_RANGE,
    ErrorCode.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorCode.CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    ErrorCode.BUSY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorCode.CANCELLED: grpc.StatusCode.CANCELLED,
    ErrorCode.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.WEIGHTS_MISMATCH: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorCode.INTERNAL: grpc.StatusCode.INTERNAL,
}
_CODE = {status: code for code, status in _STATUS.items()}
_BY_NAME = {code.value: code for code in ErrorCode}

_BARE_MESSAGES = {
    ErrorCode.BUSY: "the {stage} room is full; try again in a moment",
    ErrorCode.TOO_LARGE: "the request takes more bytes than a message to the {stage} room may have; send less",
    ErrorCode.UNSUPPORTED: "what listens in place of the {stage} room does not know the call; check its address",
    ErrorCode.DEADLINE: "the time allowed for the request ran out in the {stage} room",
    ErrorCode.CANCELLED: "the request was cancelled",
    ErrorCode.UNAVAILABLE: "the {stage} room cannot be reached or is not ready; try again in a moment",
}

_TOO_LONG = "message larger than max"
"""gRPC says so of a message over the limit, under the status that a full room has."""


class Call(Protocol):
    """The parts of a failed gRPC call that are read here."""

    def code(self) -> grpc.StatusCode: ...

    def details(self) -> str | None: ...

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...] | None: ...


def abort(context: grpc.ServicerContext, error: PlatformError) -> NoReturn:
    """End the call with the error in its trailing metadata. Always raises, as gRPC's own abort does."""
    detail = errors_pb2.ErrorDetail(
        code=error.code.value,
        message=error.message,
        retryable=error.retryable,
        retry_after_s=error.retry_after_s or 0.0,
        correlation_id=error.correlation_id,
    )
    context.set_trailing_metadata(((DETAIL_KEY, detail.SerializeToString()),))
    context.abort(_STATUS[error.code], error.message)


def from_call(call: Call, stage: str) -> PlatformError:
    """Rebuild the error of a failed call; a failure of the transport itself gets words of our own."""
    for key, value in call.trailing_metadata() or ():
        if key == DETAIL_KEY and isinstance(value, bytes):
            return _from_detail(errors_pb2.ErrorDetail.FromString(value))
    code = _CODE.get(call.code(), ErrorCode.INTERNAL)
    if code is ErrorCode.BUSY and _TOO_LONG in (call.details() or ""):
        code = ErrorCode.TOO_LARGE
    message = _BARE_MESSAGES.get(code, "the {stage} room failed without giving a reason").format(stage=stage)
    return PlatformError(code, message)


def _from_detail(detail: errors_pb2.ErrorDetail) -> PlatformError:
    return PlatformError(
        _BY_NAME.get(detail.code, ErrorCode.INTERNAL),
        detail.message,
        retryable=detail.retryable,
        retry_after_s=detail.retry_after_s or None,
        correlation_id=detail.correlation_id,
    )
