"""Storage commitment over HTTP (PS3.18, section 13): what is promised, at once, and read again later."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse

from hulumed_platform.archive.commitment import CommitmentResult, InstanceReference, check
from hulumed_platform.gateway.dependencies import Door, door
from hulumed_platform.gateway.ups_body import DICOM_JSON, Attributes, check_accept, required_body
from hulumed_platform.gateway.ups_refusal import RefusedError, WorklistRoute
from hulumed_platform.gateway.ups_rules import element, items_of, value_of
from hulumed_platform.storage.commitments import Commitments
from hulumed_platform.storage.records import check_uid

router = APIRouter(prefix="/dicom-web/commitment-requests", tags=["DICOMweb"], route_class=WorklistRoute)

_Door = Annotated[Door, Depends(door)]
_REFERENCED, _FAILED, _REASON = "00081199", "00081198", "00081197"
_SOP_CLASS, _SOP_INSTANCE = "00081150", "00081155"
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "Which instances are here to stay, and which are not.", "content": {DICOM_JSON: {}}},
    400: {"description": "The request is malformed or names no instance."},
    406: {"description": f"Only {DICOM_JSON} is spoken."},
    503: {"description": "A store is away; nothing is said of any instance. Ask again."},
}


@router.post(
    "/{transaction_uid}",
    responses={**_RESPONSES, 409: {"description": "The Transaction UID is in use; choose another."}},
    response_model=None,
)
def request_commitment(
    request: Request, transaction_uid: str, door: _Door, body: Annotated[Attributes, Depends(required_body)]
) -> JSONResponse:
    """Ask for the safekeeping of instances; the answer is complete (section 13.4)."""
    check_accept(request)
    check_uid(transaction_uid, "Transaction UID in the address")
    references = _references(body)
    tenant = door.settings.tenant
    with door.database.reading() as session:
        if Commitments(session, tenant).find(transaction_uid) is not None:
            raise _in_use()
    result = _result(check(door.objects, door.database, tenant, references))
    with door.database.session() as session:
        if not Commitments(session, tenant).add(transaction_uid, result, datetime.now(UTC)):
            raise _in_use()
    return JSONResponse(result, media_type=DICOM_JSON)


@router.get("/{transaction_uid}", responses={**_RESPONSES, 404: {}}, response_model=None)
def read_commitment(request: Request, transaction_uid: str, door: _Door) -> JSONResponse:
    """The answer to an earlier request, as it was given then (section 13.5)."""
    check_accept(request)
    check_uid(transaction_uid, "Transaction UID in the address")
    with door.database.reading() as session:
        result = Commitments(session, door.settings.tenant).find(transaction_uid)
    if result is None:
        raise RefusedError(404, "no commitment was requested under this Transaction UID, or long ago; request it anew")
    return JSONResponse(result, media_type=DICOM_JSON)


def _references(body: Attributes) -> list[InstanceReference]:
    items = items_of(body, _REFERENCED)
    if not items:
        raise RefusedError(400, "name the instances in the Referenced SOP Sequence (0008,1199)")
    references = [InstanceReference(value_of(item, _SOP_CLASS), value_of(item, _SOP_INSTANCE)) for item in items]
    for reference in references:
        check_uid(reference.sop_class_uid, "Referenced SOP Class UID")
        check_uid(reference.sop_instance_uid, "Referenced SOP Instance UID")
    return references


def _result(results: Sequence[CommitmentResult]) -> Attributes:
    """The Storage Commitment Response Module (table J.2-1); an empty sequence is left out."""
    kept = [_sop(result.reference) for result in results if result.failure is None]
    failed = [
        {**_sop(result.reference), _REASON: element("US", int(result.failure))}
        for result in results
        if result.failure is not None
    ]
    sequences = {_FAILED: failed, _REFERENCED: kept}
    return {tag: element("SQ", *items) for tag, items in sequences.items() if items}


def _sop(reference: InstanceReference) -> Attributes:
    return {
        _SOP_CLASS: element("UI", reference.sop_class_uid),
        _SOP_INSTANCE: element("UI", reference.sop_instance_uid),
    }


def _in_use() -> RefusedError:
    return RefusedError(409, "a commitment was requested under this Transaction UID before; choose another")
