"""Stored studies: where they are on their path, their reports, and what the reports stand on."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway.dependencies import Door, door
from hulumed_platform.storage.models import Instance, Report, Study, StudyState
from hulumed_platform.storage.records import check_uid
from hulumed_platform.storage.reports import Reports
from hulumed_platform.storage.studies import Studies

router = APIRouter(prefix="/studies", tags=["studies"])
_Door = Annotated[Door, Depends(door)]


@router.get("")
def list_studies(
    door: _Door,
    state: StudyState | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, lt=2**31)] = 0,
) -> dict[str, Any]:
    """Studies, the newest first."""
    with door.database.reading() as session:
        studies = Studies(session).list(door.settings.tenant, state=state, limit=limit, offset=offset)
    return {"studies": [_study(study) for study in studies]}


@router.get("/{study_uid}")
def get_study(study_uid: str, door: _Door) -> dict[str, Any]:
    """State of a study, the reason for it, and its series."""
    with door.database.reading() as session:
        study = _find(Studies(session), door, study_uid)
        instances = Studies(session).instances(study.id)
    return {**_study(study), "num_instances": len(instances), "series": _series(instances)}


@router.get("/{study_uid}/reports")
def list_reports(study_uid: str, door: _Door) -> dict[str, Any]:
    """Every report of a study, the newest revision first."""
    with door.database.reading() as session:
        study = _find(Studies(session), door, study_uid)
        reports = Reports(session).history(study.id)
    return {"reports": [_report(report) for report in reports]}


@router.get("/{study_uid}/reports/latest")
def latest_report(study_uid: str, door: _Door) -> dict[str, Any]:
    """The report of the newest revision that has one."""
    return _report(_latest(door, study_uid))


@router.get("/{study_uid}/provenance")
def get_provenance(study_uid: str, door: _Door) -> dict[str, Any]:
    """All that is needed to trace the latest report and to compute it again."""
    return _latest(door, study_uid).provenance


@router.get("/{study_uid}/evidence")
def get_evidence(study_uid: str, door: _Door) -> dict[str, Any]:
    """Which tokens of which plane the latest report was written from."""
    report = _latest(door, study_uid)
    if report.evidence_digest is None:
        raise PlatformError(ErrorCode.NOT_FOUND, "the report of this study has no evidence")
    evidence: dict[str, Any] = json.loads(door.objects.read(door.settings.tenant, report.evidence_digest))
    return {"revision": report.revision, **evidence}


def _latest(door: Door, study_uid: str) -> Report:
    with door.database.reading() as session:
        study = _find(Studies(session), door, study_uid)
        report = Reports(session).latest(study.id)
    if report is None:
        raise PlatformError(ErrorCode.NOT_FOUND, f"the study has no report yet; it is {study.state.value}")
    return report


def _find(studies: Studies, door: Door, study_uid: str) -> Study:
    check_uid(study_uid, "Study Instance UID in the address")
    return studies.get(door.settings.tenant, study_uid)


def _study(study: Study) -> dict[str, Any]:
    return {
        "study_instance_uid": study.study_instance_uid,
        "state": study.state.value,
        "state_reason": study.state_reason,
        "revision": study.revision,
        "attempt": study.attempt,
        "next_retry_at": _time(study.next_retry_at),
        "created_at": _time(study.created_at),
        "last_received_at": _time(study.last_received_at),
        "updated_at": _time(study.updated_at),
    }


def _series(instances: Sequence[Instance]) -> list[dict[str, Any]]:
    series: dict[str, dict[str, Any]] = {}
    for instance in instances:
        entry = series.setdefault(
            instance.series.series_instance_uid,
            {
                "series_instance_uid": instance.series.series_instance_uid,
                "modality": instance.series.modality,
                "num_instances": 0,
            },
        )
        entry["num_instances"] += 1
    return list(series.values())


def _report(report: Report) -> dict[str, Any]:
    return {
        "revision": report.revision,
        "text": report.text,
        "status": "preliminary",
        "finish_reason": report.finish_reason,
        "model_label": report.model_label,
        "trained": report.trained,
        "usage": {
            "prompt_tokens": report.prompt_tokens,
            "completion_tokens": report.completion_tokens,
            "visual_tokens_before": report.visual_tokens_before,
            "visual_tokens_after": report.visual_tokens_after,
        },
        "created_at": _time(report.created_at),
        "provenance": report.provenance,
    }


def _time(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
