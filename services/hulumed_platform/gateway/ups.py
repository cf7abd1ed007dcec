"""UPS-RS, the Worklist Service (PS3.18, section 11): HTTP in, `Worklist` calls, HTTP out.

The Transaction UID of an update has had three names in the standard; all are read, in any case.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydicom.uid import generate_uid

from hulumed_platform.gateway.dependencies import Door, door
from hulumed_platform.gateway.errors import hidden
from hulumed_platform.gateway.ups_body import DICOM_JSON, Attributes, check_accept, optional_body, required_body
from hulumed_platform.gateway.ups_events import check_ae_title
from hulumed_platform.gateway.ups_refusal import UID_MISSING, RefusedError, WorklistRoute, service_url, warning
from hulumed_platform.gateway.ups_rules import (
    AFFECTED_UID,
    SOP_INSTANCE,
    STATE,
    TRANSACTION_UID,
    data_set,
    input_studies,
    value_of,
)
from hulumed_platform.gateway.ups_search import read_search, selected
from hulumed_platform.gateway.ups_worklist import Worklist, open_worklist
from hulumed_platform.storage.endings import end_explicitly
from hulumed_platform.storage.records import check_uid
from hulumed_platform.storage.workitem_models import Workitem, WorkitemState

router = APIRouter(prefix="/dicom-web/workitems", tags=["UPS-RS"], route_class=WorklistRoute)

_Door = Annotated[Door, Depends(door)]
_Body = Annotated[Attributes, Depends(required_body)]
_TRANSACTION_NAMES = ("transaction", "transaction-uid")
_ANYBODY = "ANONYMOUS"
_ALREADY = "The UPS is already in the requested state of {}."
_EVERY: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request is malformed, or lacks what the standard asks for."},
    404: {"description": "No such workitem or subscription."},
    503: {"description": "The database is away; send the request again."},
}
_CHANGES: dict[int | str, dict[str, Any]] = {
    **_EVERY,
    409: {"description": "Not in the state that the workitem is in; a Warning header tells more."},
    413: {"description": "The body is over the limit."},
    415: {"description": f"Only {DICOM_JSON} is read."},
}


@router.post("", status_code=201, responses=_CHANGES, response_model=None)
def create_workitem(request: Request, door: _Door, body: _Body) -> Response:
    """Create a workitem: its UID is in the query, in the data set, or made here (section 11.4)."""
    uid = _new_uid(request, body)
    with open_worklist(door) as worklist:
        is_filled = worklist.create(uid, body)
    notes = warning(request, "The Workitem was created with modifications.") if is_filled else {}
    return Response(status_code=201, headers={**_places(request, uid), **notes})


@router.get("", responses={**_EVERY, 406: {}}, response_model=None)
def search_workitems(request: Request, door: _Door) -> Response:
    """Search workitems; attributes are named by tag or keyword, in sequences by a path with dots (section 11.9)."""
    check_accept(request)
    search = read_search(request.query_params.multi_items())
    with door.database.reading() as session:
        worklist = Worklist(session, door.settings.tenant, datetime.now(UTC))
        found = worklist.search(search.query, limit=search.limit + 1, offset=search.offset)
    page, notes = found[: search.limit], search.warnings(has_more=len(found) > search.limit)
    headers = warning(request, *notes)
    if not page:
        return Response(status_code=204, headers=headers)
    url = f"{service_url(request)}/workitems"
    return _json([selected(data_set(workitem), search, url) for workitem in page], headers)


@router.get("/{uid}", responses={**_EVERY, 406: {}}, response_model=None)
def retrieve_workitem(request: Request, uid: str, door: _Door) -> Response:
    """One workitem, without its Transaction UID (section 11.5)."""
    check_accept(request)
    check_uid(uid, "workitem UID in the address")
    with door.database.reading() as session:
        workitem = Worklist(session, door.settings.tenant, datetime.now(UTC)).get(uid)
    return _json([data_set(workitem)], {"Cache-Control": "no-cache"})


@router.post("/{uid}", responses=_CHANGES, response_model=None)
def update_workitem(request: Request, uid: str, door: _Door, body: _Body) -> Response:
    """Change attributes of a workitem; the Transaction UID is in the query (section 11.6)."""
    check_uid(uid, "workitem UID in the address")
    named = (value for name, value in request.query_params.multi_items() if name.lower() in _TRANSACTION_NAMES)
    with open_worklist(door) as worklist:
        worklist.update(uid, body, next(named, None))
    return Response(headers={"Content-Location": _places(request, uid)["Location"]})


@router.put("/{uid}/state", responses=_CHANGES, response_model=None)
@router.put("/{uid}/state/{requester}", responses=_CHANGES, response_model=None)
def change_state(request: Request, uid: str, door: _Door, body: _Body) -> Response:
    """Claim, complete or cancel a workitem (section 11.7)."""
    check_uid(uid, "workitem UID in the address")
    wanted = value_of(body, STATE)
    if wanted not in (WorkitemState.IN_PROGRESS, WorkitemState.COMPLETED, WorkitemState.CANCELED):
        raise RefusedError(400, "the Procedure Step State to change to is IN PROGRESS, COMPLETED or CANCELED")
    transaction_uid = value_of(body, TRANSACTION_UID)
    if not transaction_uid:
        raise RefusedError(400, "name the Transaction UID that holds the workitem, or is to hold it", UID_MISSING)
    state = WorkitemState(wanted)
    with open_worklist(door) as worklist:
        changed = worklist.change_state(uid, state, transaction_uid)
    if changed is not None and state is WorkitemState.COMPLETED:
        _end_studies(door, changed)
    notes = {} if changed else warning(request, _ALREADY.format(state.value))
    return Response(headers={"Content-Location": _places(request, uid)["Location"], **notes})


@router.post("/{uid}/cancelrequest", status_code=202, responses=_CHANGES, response_model=None)
@router.post("/{uid}/cancelrequest/{requester}", status_code=202, responses=_CHANGES, response_model=None)
def request_cancellation(
    request: Request,
    uid: str,
    door: _Door,
    body: Annotated[Attributes | None, Depends(optional_body)],
    requester: str = _ANYBODY,
) -> Response:
    """Ask for the end of a workitem that someone else may hold (section 11.8)."""
    check_uid(uid, "workitem UID in the address")
    check_ae_title(requester)
    with open_worklist(door) as worklist:
        is_heard = worklist.request_cancel(uid, body or {}, requester)
    notes = {} if is_heard else warning(request, _ALREADY.format(WorkitemState.CANCELED.value))
    return Response(status_code=202, headers=notes)


def _new_uid(request: Request, body: Attributes) -> str:
    """`?1.2.3`, as the standard has it, or `?AffectedSOPInstanceUID=1.2.3` or `?workitem=1.2.3`."""
    bare = [name for name, value in request.query_params.multi_items() if not value]
    named = [request.query_params.get(name, "") for name in ("AffectedSOPInstanceUID", "workitem")]
    inside = [value_of(body, tag) for tag in (SOP_INSTANCE, AFFECTED_UID)]
    given = {uid for uid in (*bare, *named, *inside) if uid}
    if len(given) > 1:
        raise RefusedError(400, "the request names two UIDs for one new workitem; send one")
    uid = given.pop() if given else generate_uid()
    check_uid(uid, "workitem UID")
    return uid


def _end_studies(door: Door, workitem: Workitem) -> None:
    """A workitem is done: its input is whole. The change stands; what fails here is for the log (dcm4chee, #3782)."""
    for study in input_studies(workitem.attributes):
        try:
            with door.database.session() as session:
                reason = "a workitem that has the study as its input was completed"
                end_explicitly(session, door.settings.tenant, study, reason, datetime.now(UTC))
        except Exception as error:  # noqa: BLE001  whatever it is, the workitem is COMPLETED
            hidden(error)


def _places(request: Request, uid: str) -> dict[str, str]:
    url = f"{service_url(request)}/workitems/{uid}"
    return {"Location": url, "Content-Location": url}


def _json(data_sets: list[Attributes], headers: dict[str, str]) -> JSONResponse:
    return JSONResponse(data_sets, headers=headers, media_type=DICOM_JSON)
