"""QIDO-RS (PS3.18, section 10.6): which studies, series and instances there are."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from hulumed_platform.archive.query import Level, Match, read_query
from hulumed_platform.archive.search import find, supported
from hulumed_platform.gateway.dependencies import Door, door
from hulumed_platform.gateway.dicomweb.accept import DICOM_JSON, require_json
from hulumed_platform.gateway.dicomweb.answers import json_answer, root
from hulumed_platform.gateway.dicomweb.results import result
from hulumed_platform.storage.records import check_uid

router = APIRouter(prefix="/dicom-web", tags=["DICOMweb"])

_Door = Annotated[Door, Depends(door)]
_STUDY_UID, _SERIES_UID = "0020000D", "0020000E"
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "An array of results, empty where nothing matches.", "content": {DICOM_JSON: {}}},
    400: {"description": "A query parameter has a value that its attribute cannot have."},
    406: {"description": "Only application/dicom+json is spoken."},
}


@router.get("/studies", responses=_RESPONSES, response_model=None)
def search_studies(request: Request, door: _Door) -> Response:
    """Find studies."""
    return _search(request, door, Level.STUDY)


@router.get("/series", responses=_RESPONSES, response_model=None)
def search_series(request: Request, door: _Door) -> Response:
    """Find series of any study."""
    return _search(request, door, Level.SERIES)


@router.get("/instances", responses=_RESPONSES, response_model=None)
def search_instances(request: Request, door: _Door) -> Response:
    """Find instances of any study."""
    return _search(request, door, Level.INSTANCE)


@router.get("/studies/{study}/series", responses=_RESPONSES, response_model=None)
def search_series_of_study(request: Request, study: str, door: _Door) -> Response:
    """Find series of a study."""
    return _search(request, door, Level.SERIES, study)


@router.get("/studies/{study}/instances", responses=_RESPONSES, response_model=None)
def search_instances_of_study(request: Request, study: str, door: _Door) -> Response:
    """Find instances of a study."""
    return _search(request, door, Level.INSTANCE, study)


@router.get("/studies/{study}/series/{series}/instances", responses=_RESPONSES, response_model=None)
def search_instances_of_series(request: Request, study: str, series: str, door: _Door) -> Response:
    """Find instances of a series."""
    return _search(request, door, Level.INSTANCE, study, series)


def _search(
    request: Request, door: Door, level: Level, study: str | None = None, series: str | None = None
) -> Response:
    require_json(request)
    scope = _scope(study, series)
    query = read_query(request.query_params.multi_items(), supported(level), scope)
    with door.database.reading() as session:
        found, left = find(session, door.settings.tenant, level, query)
    warnings = list(query.warnings)
    if left:
        warnings.append(f"There are {left} additional results that can be requested")
    address = root(request)
    # Empty where nothing matches: 204 is allowed as well, but Orthanc takes an answer without a body for a broken one.
    return json_answer(request, [result(one, level, query, address) for one in found], warnings=warnings)


def _scope(study: str | None, series: str | None) -> list[Match]:
    """What the address itself asks for."""
    scope = []
    for path, uid, name in ((_STUDY_UID, study, "Study"), (_SERIES_UID, series, "Series")):
        if uid is not None:
            check_uid(uid, f"{name} Instance UID in the address")
            scope.append(Match(path, "UI", (uid,)))
    return scope
