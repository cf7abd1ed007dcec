"""The HTTP application, from a door that is given."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.trace import Span, TracerProvider

from hulumed_platform.core.metrics import REQUEST_SECONDS, REQUESTS
from hulumed_platform.core.version import PLATFORM_VERSION
from hulumed_platform.gateway import chat, files, health, stow, studies
from hulumed_platform.gateway.dependencies import Door
from hulumed_platform.gateway.errors import error_response, hidden, install_error_handlers

_DESCRIPTION = """
Ask a medical vision-language model about text, images, volumes, videos and stored studies, post studies by DICOMweb,
and read reports with their provenance and evidence. Answers are drafts for a reader who is qualified to judge them.
"""

_ADDRESS_ATTRIBUTES = {"http.target", "http.url", "url.path", "url.query", "url.full"}


def create_app(door: Door, tracer_provider: TracerProvider | None = None) -> FastAPI:
    """The app with all its routes; it closes nothing of the door. Without a provider, traces go to the global one."""
    app = FastAPI(title="Hulu-Med platform", version=PLATFORM_VERSION, description=_DESCRIPTION)
    app.state.door = door
    install_error_handlers(app)
    app.middleware("http")(_count)
    for module in (chat, files, stow, studies, health):
        app.include_router(module.router)
    FastAPIInstrumentor.instrument_app(
        app,
        server_request_hook=_hide_address,
        tracer_provider=tracer_provider,
        excluded_urls="healthz,readyz,metrics",
        exclude_spans=["receive", "send"],  # else one for every piece of a body and every token of an answer
    )
    return app


def _hide_address(span: Span, _scope: dict[str, Any]) -> None:
    """Take the address out of a trace: it holds UIDs, and whatever a client wrote there. The route stays."""
    for name in _ADDRESS_ATTRIBUTES & set(getattr(span, "attributes", None) or ()):
        span.set_attribute(name, "hidden")


async def _count(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    """Count requests by route, not by address: that holds UIDs."""
    started = time.monotonic()
    try:
        response = await go_on(request)
    except Exception as error:  # noqa: BLE001  the outermost place of a request; left to the server it is not counted
        response = error_response(hidden(error))
    name = _name(request)
    REQUESTS.labels(name, str(response.status_code)).inc()
    REQUEST_SECONDS.labels(name).observe(time.monotonic() - started)
    return response


def _name(request: Request) -> str:
    """Method and route; a client may make up both, and every new name would be a new series of numbers for ever."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or request.method not in route.methods:
        return "unknown"
    return f"{request.method} {route.path}"
