"""The HTTP application, from a door that is given."""

import time
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

from hulumed_platform.core.metrics import REQUEST_SECONDS, REQUESTS
from hulumed_platform.core.version import PLATFORM_VERSION
from hulumed_platform.gateway import chat, commitment, files, health, stow, studies, ups, ups_events
from hulumed_platform.gateway.dependencies import Door
from hulumed_platform.gateway.errors import install_error_handlers

_DESCRIPTION = """
Ask a medical vision-language model about text, images, volumes, videos and stored studies, post studies by DICOMweb,
and read reports with their provenance and evidence. Answers are drafts for a reader who is qualified to judge them.
"""


def create_app(door: Door) -> FastAPI:
    """The app with all its routes; it closes nothing of the door."""
    app = FastAPI(title="Hulu-Med platform", version=PLATFORM_VERSION, description=_DESCRIPTION)
    app.state.door = door
    install_error_handlers(app)
    app.middleware("http")(_count)
    for module in (chat, files, stow, ups, ups_events, commitment, studies, health):
        app.include_router(module.router)
    FastAPIInstrumentor.instrument_app(app, excluded_urls="healthz,readyz,metrics")
    return app


async def _count(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    """Count requests by route, not by address: that holds UIDs."""
    started = time.monotonic()
    response = await go_on(request)
    route = request.scope.get("route")
    name = f"{request.method} {getattr(route, 'path', 'unknown')}"
    REQUESTS.labels(name, str(response.status_code)).inc()
    REQUEST_SECONDS.labels(name).observe(time.monotonic() - started)
    return response
