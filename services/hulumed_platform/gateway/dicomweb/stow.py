"""STOW-RS (PS3.18, section 10.5): instances come in as a stream, and are acknowledged once they are durable."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, HTTPException, Request, Response

from hulumed_platform.archive.intake import FailureReason, Intake, Outcome, Received
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway.dependencies import Door, door
from hulumed_platform.gateway.dicomweb.accept import DICOM_JSON, require_json
from hulumed_platform.gateway.dicomweb.answers import json_answer, root
from hulumed_platform.gateway.multipart import boundary_of, malformed
from hulumed_platform.gateway.parts import Part, read_parts
from hulumed_platform.storage.endings import WHOLE_STUDY_STOW, end_explicitly
from hulumed_platform.storage.records import Source, check_uid

router = APIRouter(prefix="/dicom-web", tags=["DICOMweb"])

_DICOM = "application/dicom"
_SOURCE = Source(door="dicomweb")
_AT_ONCE = 4
"""Instances of one request that are being stored at the same time: each waits for a disk, not for a processor."""
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "Every instance is stored.", "content": {DICOM_JSON: {}}},
    202: {"description": "Some instances are stored, some were refused.", "content": {DICOM_JSON: {}}},
    400: {"description": "The request is malformed; nothing is stored."},
    406: {"description": "Only application/dicom+json is spoken."},
    409: {"description": "No instance could be stored.", "content": {DICOM_JSON: {}}},
    408: {"description": "The body came too slowly; nothing is stored."},
    413: {"description": "The body, or the number of its instances, is over the limit; nothing is stored."},
    415: {"description": "Only multipart/related with DICOM instances is read."},
    503: {"description": "A store is away or full; send the request again."},
}


@router.post("/studies", responses=_RESPONSES, response_model=None)
async def store_instances(request: Request, door: Annotated[Door, Depends(door)]) -> Response:
    """Store DICOM instances of any study."""
    return await _store(request, door, None)


@router.post("/studies/{study}", responses=_RESPONSES, response_model=None)
async def store_study(request: Request, study: str, door: Annotated[Door, Depends(door)]) -> Response:
    """Store DICOM instances of one study; instances of another are refused one by one."""
    check_uid(study, "Study Instance UID in the address")
    return await _store(request, door, study)


async def _store(request: Request, door: Door, study: str | None) -> Response:
    """Nothing has a row before the body is whole: a malformed request stores nothing."""
    require_json(request)
    boundary = _boundary(request.headers.get("content-type", ""))
    settings = door.settings
    intake = Intake(
        door.objects,
        door.registration,
        tenant=settings.tenant,
        max_instance_bytes=settings.max_instance_bytes,
        scratch_dir=settings.scratch_dir,
    )

    def receive(part: Part) -> Received:
        with part.file as file:
            media_type = part.headers.get("content-type", _DICOM)
            if media_type.split(";", maxsplit=1)[0].strip().lower() != _DICOM:
                return Received(Outcome(failure_reason=FailureReason.CANNOT_UNDERSTAND))
            return intake.receive(file, study=study, source=_SOURCE)

    limits = {"max_bytes": settings.max_stow_bytes, "max_part_bytes": settings.max_instance_bytes}
    received = await _receive_all(read_parts(request, boundary, door, **limits), receive, door)
    if not received:
        raise malformed("it has no part; send at least one instance")
    outcomes = await to_thread.run_sync(intake.register, received, limiter=door.limiter)
    if study is not None and all(outcome.failure_reason is None for outcome in outcomes):
        await to_thread.run_sync(_end, door, study, limiter=door.limiter)
    body, status = _answer(outcomes, root(request))
    return json_answer(request, body, status=status)


def _end(door: Door, study: str) -> None:
    """Tell that a whole study came in one request; whether that is its end is for the study's rule to say."""
    with door.database.session() as session:
        end_explicitly(session, door.settings.tenant, study, WHOLE_STUDY_STOW, datetime.now(UTC))


async def _receive_all(parts: AsyncIterator[Part], receive: Callable[[Part], Received], door: Door) -> list[Received]:
    """Store each part while the next ones come in; the order stays."""
    tasks: list[asyncio.Task[Received]] = []
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(part: Part) -> Received:
        try:
            return await to_thread.run_sync(receive, part, limiter=door.limiter)
        finally:
            slots.release()

    try:
        async with asyncio.timeout(door.settings.stow_timeout_s):
            async for part in parts:
                await slots.acquire()
                tasks.append(asyncio.create_task(one(part)))
                _check(tasks, door.settings.max_stow_instances)
            return list(await asyncio.gather(*tasks))
    except TimeoutError:
        raise HTTPException(408, f"the body took longer than {door.settings.stow_timeout_s:g} s; send less") from None
    finally:
        await asyncio.gather(*tasks, return_exceptions=True)


def _check(tasks: Sequence[asyncio.Task[Received]], max_instances: int) -> None:
    """Give up early where the rest of the body is sent for nothing. Older tasks were looked at before."""
    if len(tasks) > max_instances:
        raise PlatformError(
            ErrorCode.TOO_LARGE, f"the request has more than {max_instances:,} instances; send them in several"
        )
    for task in tasks[-2 * _AT_ONCE :]:
        if task.done():
            task.result()


def _boundary(content_type: str) -> bytes:
    if not content_type.strip().lower().startswith("multipart/related"):
        raise _unsupported_type()
    media_type, parameters, boundary = boundary_of(content_type)
    if media_type != "multipart/related" or parameters.get("type", _DICOM).lower() != _DICOM:
        raise _unsupported_type()
    return boundary


def _unsupported_type() -> PlatformError:
    return PlatformError(
        ErrorCode.UNSUPPORTED, 'send multipart/related; type="application/dicom" with one DICOM instance a part'
    )


def _answer(outcomes: list[Outcome], root: str) -> tuple[dict[str, Any], int]:
    """The response module (PS3.18, table I.2-1) and the status that goes with it (section 10.5.3)."""
    stored = [outcome for outcome in outcomes if outcome.failure_reason is None]
    failed = [outcome for outcome in outcomes if outcome.failure_reason is not None and outcome.sop_instance_uid]
    unreadable = [
        outcome for outcome in outcomes if outcome.failure_reason is not None and not outcome.sop_instance_uid
    ]
    studies = {outcome.study_instance_uid for outcome in stored}
    body: dict[str, Any] = {}
    address = _element("UR", f"{root}/studies/{studies.pop()}") if len(studies) == 1 else {"vr": "UR"}
    body["00081190"] = address  # of type 2: there, though empty where there is not one study
    if stored:
        body["00081199"] = {"vr": "SQ", "Value": [_reference(outcome, root) for outcome in stored]}
    if failed:
        body["00081198"] = {"vr": "SQ", "Value": [_failure(outcome) for outcome in failed]}
    if unreadable:
        items = [{"00081197": _element("US", outcome.failure_reason)} for outcome in unreadable]
        body["0008119A"] = {"vr": "SQ", "Value": items}
    if not stored:
        return body, 409
    return body, 202 if len(stored) < len(outcomes) else 200


def _reference(outcome: Outcome, root: str) -> dict[str, Any]:
    url = (
        f"{root}/studies/{outcome.study_instance_uid}/series/{outcome.series_instance_uid}"
        f"/instances/{outcome.sop_instance_uid}"
    )
    return {**_sop(outcome), "00081190": _element("UR", url)}


def _failure(outcome: Outcome) -> dict[str, Any]:
    return {**_sop(outcome), "00081197": _element("US", outcome.failure_reason)}


def _sop(outcome: Outcome) -> dict[str, Any]:
    return {
        "00081150": _element("UI", outcome.sop_class_uid),
        "00081155": _element("UI", outcome.sop_instance_uid),
    }


def _element(vr: str, value: object) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}
