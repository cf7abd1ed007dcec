"""Subscriptions to workitems, and the WebSocket that their event reports are sent on (PS3.18, 8.10 and 11.10 to 11.13).

The reports wait in SQL and every open channel looks there, so it does not matter which replica of the gateway a change
came in by, and a receiver that was away for a moment gets what it missed. Channels of one AE title share its reports.
"""

import logging
from collections.abc import Sequence
from typing import Annotated, Any

import anyio
from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response, WebSocket, WebSocketDisconnect

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway.dependencies import Door, door
from hulumed_platform.gateway.ups_matching import tag_of
from hulumed_platform.gateway.ups_refusal import RefusedError, WorklistRoute, service_url
from hulumed_platform.gateway.ups_rules import element
from hulumed_platform.gateway.ups_worklist import FILTERED_WORKLIST, WORKLIST, open_worklist
from hulumed_platform.storage.records import check_uid
from hulumed_platform.storage.workitem_events import Events
from hulumed_platform.storage.workitem_models import WorkitemEvent

router = APIRouter(prefix="/dicom-web", tags=["UPS-RS"], route_class=WorklistRoute)

log = logging.getLogger(__name__)

_Door = Annotated[Door, Depends(door)]
_LOOK_EVERY_S = 0.5
_POLICY_VIOLATION = 1008  # RFC 6455, section 7.4.1
_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"description": "The AE title, the UID or the filter is malformed."},
    404: {"description": "No such workitem or subscription."},
}


@router.post("/workitems/{uid}/subscribers/{ae_title}", status_code=201, responses=_RESPONSES, response_model=None)
def subscribe(request: Request, uid: str, ae_title: str, door: _Door) -> Response:
    """Subscribe to a workitem or, by a well-known UID, to the worklist; a deletion lock is always granted."""
    _check(uid, ae_title)
    deletion_lock = request.query_params.get("deletionlock", "false")
    if deletion_lock not in ("true", "false"):
        raise RefusedError(400, "deletionlock is true or false")
    filter_ = _filter(request) if uid == FILTERED_WORKLIST else {}
    with open_worklist(door) as worklist:
        worklist.subscribe(uid, ae_title, deletion_lock=deletion_lock == "true", filter_=filter_)
    channel = "ws" + service_url(request).removeprefix("http") + f"/subscribers/{ae_title}"
    return Response(status_code=201, headers={"Content-Location": channel})


@router.delete("/workitems/{uid}/subscribers/{ae_title}", responses=_RESPONSES, response_model=None)
def unsubscribe(uid: str, ae_title: str, door: _Door) -> Response:
    """End a subscription; that to the worklist ends with all those to its workitems."""
    _check(uid, ae_title)
    with open_worklist(door) as worklist:
        worklist.unsubscribe(uid, ae_title)
    return Response()


@router.post("/workitems/{uid}/subscribers/{ae_title}/suspend", responses=_RESPONSES, response_model=None)
def suspend(uid: str, ae_title: str, door: _Door) -> Response:
    """End the subscription to workitems to come, and leave those that there are."""
    _check(uid, ae_title)
    if uid not in (WORKLIST, FILTERED_WORKLIST):
        raise RefusedError(400, "only a subscription to the worklist can be suspended; name its well-known UID")
    with open_worklist(door) as worklist:
        worklist.suspend(uid, ae_title)
    return Response()


@router.websocket("/subscribers/{ae_title}")
@router.websocket("/ws/subscribers/{ae_title}")
async def open_channel(socket: WebSocket, ae_title: str) -> None:
    """Send the event reports of an AE title, each once it is sure, until the receiver leaves."""
    try:
        check_ae_title(ae_title)
    except PlatformError:
        await socket.close(_POLICY_VIOLATION)
        return
    await socket.accept()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_send_reports, socket, ae_title)
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass  # a receiver has nothing to say
        tasks.cancel_scope.cancel()


def check_ae_title(ae_title: str) -> None:
    """Raise INVALID_INPUT unless it is 1 to 16 printable characters of ASCII without a backslash (PS3.5, 6.2)."""
    is_printable = ae_title.isascii() and ae_title.isprintable() and "\\" not in ae_title
    if not is_printable or not 1 <= len(ae_title.strip()) <= len(ae_title) <= 16:
        raise PlatformError(ErrorCode.INVALID_INPUT, "Malformed AE title in the address; it has 1 to 16 characters.")


async def _send_reports(socket: WebSocket, ae_title: str) -> None:
    door: Door = socket.app.state.door
    while True:
        try:
            for report in await to_thread.run_sync(_waiting, door, ae_title, limiter=door.limiter):
                with anyio.CancelScope(shield=True):  # what was sent is noted, also when the receiver leaves now
                    await socket.send_json({**report.content, "00000110": element("US", report.id % 65536)})
                    await to_thread.run_sync(_forget, door, report, limiter=door.limiter)
        except PlatformError as error:  # the database is away: the reports are still there when it is back
            log.warning("event reports wait: %s", error.code.value)
        except (WebSocketDisconnect, RuntimeError):  # it left while something was sent
            return
        await anyio.sleep(_LOOK_EVERY_S)


def _waiting(door: Door, ae_title: str) -> Sequence[WorkitemEvent]:
    with door.database.reading() as session:
        return Events(session, door.settings.tenant).waiting(ae_title)


def _forget(door: Door, report: WorkitemEvent) -> None:
    with door.database.session() as session:
        Events(session, door.settings.tenant).sent([report.id])


def _check(uid: str, ae_title: str) -> None:
    check_uid(uid, "workitem UID in the address")
    check_ae_title(ae_title)


def _filter(request: Request) -> dict[str, str]:
    """`filter=attribute=value,…` (since 2019b), or every parameter that is an attribute (before)."""
    pairs = request.query_params.multi_items()
    listed = [pair.partition("=")[::2] for name, value in pairs if name == "filter" for pair in value.split(",")]
    return {name: value for name, value in (*listed, *pairs) if tag_of(name.split(".")[0]) is not None}
