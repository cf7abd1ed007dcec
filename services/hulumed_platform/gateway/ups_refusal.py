"""Refusals of the worklist: status, words, and the Warning header that PS3.18, section 11, asks for."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway.errors import error_body
from hulumed_platform.gateway.urls import public_url

_CODES = {400: ErrorCode.INVALID_INPUT, 404: ErrorCode.NOT_FOUND, 406: ErrorCode.UNSUPPORTED, 409: ErrorCode.CONFLICT}

INCONSISTENT_UPDATE = "The submitted request is inconsistent with the current state of the Workitem."
INCONSISTENT_STATE = "The submitted request is inconsistent with the state of the UPS Instance."
NOT_CLAIMED = "The target URI did not reference a claimed Workitem."
UID_MISSING = "The Transaction UID is missing."
UID_INCORRECT = "The Transaction UID is incorrect."
ALREADY_COMPLETED = "The UPS is already COMPLETED."
NOBODY_TO_TELL = "The performer cannot be contacted."


class RefusedError(Exception):
    """A request that the worklist turns down.

    Args:
        status: HTTP status.
        message: What is wrong and how to mend it; never a value of the request.
        warnings: Texts of the Warning header, in the standard's words.
    """

    def __init__(self, status: int, message: str, *warnings: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.warnings = warnings


class WorklistRoute(APIRoute):
    """A route that answers `RefusedError` as what it is."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of FastAPI, and one more kind of answer."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RefusedError as refusal:
                body = error_body(PlatformError(_CODES[refusal.status], refusal.message))
                return JSONResponse(body, refusal.status, headers=warning(request, *refusal.warnings))

        return answer


def service_url(request: Request) -> str:
    """The base URI of the DICOMweb services as the client sees it."""
    return public_url(request) + "/dicom-web"


def warning(request: Request, *texts: str) -> dict[str, str]:
    """The Warning header in the form of PS3.18, `299 <service>: text`; no header for no text."""
    if not texts:
        return {}
    return {"Warning": ", ".join(f"299 {service_url(request)}: {text}" for text in texts)}
