"""Completes studies as a worker without a rules file does, for tests of what comes after."""

from datetime import datetime

from sqlalchemy.orm import Session

from hulumed_platform.archive.completion import StudyTimes, Verdict, decide
from hulumed_platform.archive.rules.schema import Completion
from hulumed_platform.storage.models import StudyState
from hulumed_platform.storage.receiving import Look, Receiving

RULES_DIGEST = "sha256:" + "0" * 64


def complete_quiet(session: Session, now: datetime, *, quiet_s: float) -> list[str]:
    """Complete every open study that got nothing for so long, and return their ids."""
    receiving = Receiving(session)
    timing = Completion(series_quiet_s=quiet_s, study_quiet_s=quiet_s, force_s=None)
    completed = []
    for study in receiving.to_look_at(now, limit=1000):
        decision = decide(StudyTimes(study.opened_at, study.last_received_at, ()), timing, (), now)
        if decision.verdict is Verdict.COMPLETE:
            look = Look(state=StudyState.COMPLETE, completion=decision.reason.to_json(), rules_digest=RULES_DIGEST)
            assert receiving.write(study, look, now)
            completed.append(study.id)
    return completed
