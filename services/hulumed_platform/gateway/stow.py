"""STOW-RS (PS3.18, section 10.5): instances come in as a stream, and are acknowledged once they are durable."""

from typing import Annotated, Any, BinaryIO

from anyio import to_thread
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse

from hulumed_platform.archive.intake import FailureReason, Intake, Outcome
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway.dependencies import Door, door
from hulumed_platform.gateway.multipart import boundary_of, malformed
from hulumed_platform.gateway.parts import read_parts
from hulumed_platform.gateway.urls import public_url
from hulumed_platform.storage.records import check_uid

router = APIRouter(prefix="/dicom-web", tags=["DICOMweb"])

_DICOM = "application/dicom"
_DICOM_JSON = "application/dicom+json"
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "Every instance is stored.", "content": {_DICOM_JSON: {}}},
    202: {"description": "Some instances are stored, some were refused.", "content": {_DICOM_JSON: {}}},
    400: {"description": "The request is malformed; nothing that came after the fault is stored."},
    406: {"description": "Only application/dicom+json is spoken."},
    409: {"description": "No instance could be stored.", "content": {_DICOM_JSON: {}}},
    413: {"description": "The body is over the limit."},
    415: {"description": "Only multipart/related with DICOM instances is read."},
    503: {"description": "A store is away or full; send the request again."},
}


@router.post("/studies", responses=_RESPONSES, response_model=None)
async def store_instances(request: Request, door: Annotated[Door, Depends(door)]) -> JSONResponse:
    """Store DICOM instances of any study."""
    return await _store(request, door, None)


@router.post("/studies/{study}", responses=_RESPONSES, response_model=None)
async def store_study(request: Request, study: str, door: Annotated[Door, Depends(door)]) -> JSONResponse:
    """Store DICOM instances of one study; instances of another are refused one by one."""
    check_uid(study, "Study Instance UID in the address")
    return await _store(request, door, study)


async def _store(request: Request, door: Door, study: str | None) -> JSONResponse:
    _check_accept(request.headers.get("accept", ""))
    boundary = _boundary(request.headers.get("content-type", ""))
    settings = door.settings
    intake = Intake(
        door.objects,
        door.database,
        tenant=settings.tenant,
        max_instance_bytes=settings.max_instance_bytes,
        scratch_dir=settings.scratch_dir,
    )

    def store(media_type: str, file: BinaryIO) -> Outcome:
        if media_type.split(";", maxsplit=1)[0].strip().lower() != _DICOM:
            return Outcome(failure_reason=FailureReason.CANNOT_UNDERSTAND)
        return intake.store(file, study=study)

    outcomes: list[Outcome] = []
    limits = {"max_bytes": settings.max_stow_bytes, "max_part_bytes": settings.max_instance_bytes}
    async for part in read_parts(request, boundary, door, **limits):
        media_type = part.headers.get("content-type", _DICOM)
        with part.file as file:
            outcomes.append(await to_thread.run_sync(store, media_type, file, limiter=door.limiter))
    if not outcomes:
        raise malformed("it has no part; send at least one instance")
    body, status = _answer(outcomes, public_url(request) + "/dicom-web")
    return JSONResponse(body, status, media_type=_DICOM_JSON)


def _check_accept(accept: str) -> None:
    types = [part.split(";")[0].strip().lower() for part in accept.split(",") if part.strip()]
    if types and not {_DICOM_JSON, "application/json", "application/*", "*/*"} & set(types):
        raise HTTPException(406, f"only {_DICOM_JSON} is spoken; change the Accept header")


def _boundary(content_type: str) -> bytes:
    media_type, parameters, boundary = _read_content_type(content_type)
    if media_type != "multipart/related" or parameters.get("type", _DICOM).lower() != _DICOM:
        raise _unsupported_type()
    return boundary


def _read_content_type(content_type: str) -> tuple[str, dict[str, str], bytes]:
    if not content_type.strip().lower().startswith("multipart/related"):
        raise _unsupported_type()
    return boundary_of(content_type)


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
    if len(studies) == 1:
        body["00081190"] = _element("UR", f"{root}/studies/{studies.pop()}")
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
