"""Is it alive, is it ready, and what it counts."""

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway.dependencies import Door, door

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "Something that the gateway needs is away."}})
async def ready(door: Annotated[Door, Depends(door)]) -> JSONResponse:
    """SQL, objects and the decoder answer; says which one does not."""
    checks = {"database": door.database.check, "objects": door.objects.check}
    if door.settings.decoder_address:
        checks["decoder"] = lambda: _check_decoder(door)
    faults: dict[str, Any] = {}
    for name, check in checks.items():
        try:
            await to_thread.run_sync(check, limiter=door.limiter)
        except PlatformError as error:
            faults[name] = error.message
    status = {name: faults.get(name, "ready") for name in checks}
    return JSONResponse(status, 503 if faults else 200)


@router.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """Prometheus metrics of this process."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _check_decoder(door: Door) -> None:
    description = door.decoder_room.describe(timeout_s=door.settings.plan_timeout_s)
    if not description.ready:
        raise PlatformError(ErrorCode.UNAVAILABLE, "the decoder is still loading its weights")
