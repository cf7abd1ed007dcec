"""PlatformError to HTTP, in this one place. `/v1` speaks the error shape of OpenAI clients; the rest reads the same."""

import logging
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from hulumed_platform.core.errors import ErrorCode, PlatformError, internal_error

log = logging.getLogger(__name__)

STATUS = {
    ErrorCode.INVALID_INPUT: 400,
    ErrorCode.UNSUPPORTED: 415,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.BUSY: 429,
    ErrorCode.DEADLINE: 504,
    ErrorCode.CANCELLED: 499,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.WEIGHTS_MISMATCH: 503,
    ErrorCode.INTERNAL: 500,
}
_DEFAULT_RETRY_AFTER_S = 1.0
_MAX_FAULTS = 5
_DOORS = ("body", "query", "path")
_CODE_OF_STATUS = {404: ErrorCode.NOT_FOUND, 405: ErrorCode.INVALID_INPUT, 413: ErrorCode.TOO_LARGE}


def error_body(error: PlatformError) -> dict[str, Any]:
    """What a client reads. `type` and `param` are there because OpenAI clients look for them."""
    return {
        "error": {
            "message": error.message,
            "type": "invalid_request_error" if STATUS[error.code] < 429 else "server_error",
            "param": None,
            "code": error.code.value,
            "retryable": error.retryable,
            "correlation_id": error.correlation_id,
        }
    }


def error_response(error: PlatformError) -> JSONResponse:
    """The error as an HTTP response, with Retry-After where trying again makes sense."""
    headers = {}
    if error.retryable:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s or _DEFAULT_RETRY_AFTER_S)))
    return JSONResponse(error_body(error), STATUS[error.code], headers=headers)


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of the app read alike, those of the framework included."""
    app.add_exception_handler(PlatformError, _platform_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _client_left)


def hidden(error: Exception) -> PlatformError:
    """Log an unexpected exception and return what the client may know of it."""
    shown = internal_error()
    log.error("internal error", exc_info=error, extra={"correlation_id": shown.correlation_id})
    return shown


def _platform_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PlatformError)
    return error_response(error)


def _validation_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return error_response(PlatformError(ErrorCode.INVALID_INPUT, faults_in_words(error.errors())))


def faults_in_words(faults: Sequence[Mapping[str, Any]]) -> str:
    """The first faults with their places; values are left out, they may be a patient's."""
    # What a fault is in is left out by pydantic, and then missed.
    told = [fault for fault in faults if fault["type"] != "too_short"] or faults[:1]
    return "; ".join(map(_fault_in_words, told[:_MAX_FAULTS]))


def _fault_in_words(fault: Mapping[str, Any]) -> str:
    # A part is found by its type and holds a field of the same name; once is enough.
    place = ".".join(name for name, _ in groupby(str(part) for part in fault["loc"] if part not in _DOORS))
    if fault["type"] == "extra_forbidden":
        return f"{place}: is not supported here; leave it out"
    return f"{place or 'body'}: {fault['msg'].removeprefix('Value error, ')}"


def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _CODE_OF_STATUS.get(error.status_code, ErrorCode.INVALID_INPUT)
    body = error_body(PlatformError(code, str(error.detail)))
    return JSONResponse(body, error.status_code, headers=error.headers)


def _client_left(_: Request, __: Exception) -> JSONResponse:
    """Nobody reads this answer; it only counts the request as what it was."""
    return error_response(PlatformError(ErrorCode.CANCELLED, "the client left before its request was whole"))
