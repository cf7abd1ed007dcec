"""The end of a transmission, as a sender declares it."""

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from hulumed_platform.storage.models import Study, StudyState


def end_explicitly(session: Session, tenant: str, study_instance_uid: str, reason: str, now: datetime) -> bool:
    """Note that a sender says the study is whole: a receiving study becomes complete at once, with this reason.

    It does not wait for the quiet time; a study in any other state, or not known here, is left as it is, and an
    instance that comes later opens the study again. Returns whether the study was ended. The reason is shown to
    users, so it holds nothing of the patient.
    """
    ended = session.execute(
        update(Study)
        .where(
            Study.tenant == tenant,
            Study.study_instance_uid == study_instance_uid,
            Study.state == StudyState.RECEIVING,
        )
        .values(state=StudyState.COMPLETE, state_reason=reason, updated_at=now)
        .returning(Study.id),
        execution_options={"synchronize_session": False},
    ).first()
    return ended is not None
