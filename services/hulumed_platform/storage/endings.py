"""The word of a sender that a study is over, which no quiet time has to be waited for."""

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from hulumed_platform.storage.models import Study, StudyState

WHOLE_STUDY_STOW = "the whole study came in one request"
"""The reason for the end of one request `POST /studies/{uid}`; it counts where the study's rule says so."""


def end_explicitly(session: Session, tenant: str, study_instance_uid: str, reason: str, now: datetime) -> bool:
    """Note that nothing more of a study is to be waited for; a worker completes it at its next look.

    A later image opens the study again and takes the word back. Nobody's transaction but the caller's is committed.

    Args:
        session: a transaction that may write.
        tenant: whose study.
        study_instance_uid: which study.
        reason: how it was said, as users shall read it, e.g. `its workitem was completed`; no patient data.
        now: the clock.

    Returns:
        False where there is no such study, or it is not receiving (any more).
    """
    ended = session.scalars(
        update(Study)
        .where(
            Study.tenant == tenant,
            Study.study_instance_uid == study_instance_uid,
            Study.state == StudyState.RECEIVING,
        )
        .values(ended_by=reason, look_at=now, updated_at=now)
        .returning(Study.id),
        execution_options={"synchronize_session": False},
    )
    return ended.first() is not None
