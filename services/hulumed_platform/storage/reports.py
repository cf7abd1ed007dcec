"""Reports, read back. They are written by `workflow.Workflow.finish` alone."""

from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.models import Report


class Reports:
    """The reports of studies, in a transaction of the caller."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def latest(self, study_id: str) -> Report | None:
        """Return the report of the newest revision that has one."""
        return self._session.scalars(_newest_first(study_id).limit(1)).one_or_none()

    def by_revision(self, study_id: str, revision: int) -> Report:
        """Return the report of one revision. Raises NOT_FOUND."""
        report = self._session.scalar(select(Report).where(Report.study_id == study_id, Report.revision == revision))
        if report is None:
            raise PlatformError(ErrorCode.NOT_FOUND, f"Revision {revision} of the study has no report.")
        return report

    def history(self, study_id: str) -> Sequence[Report]:
        """Return every report of the study, the newest revision first."""
        return self._session.scalars(_newest_first(study_id)).all()


def _newest_first(study_id: str) -> Select[Report]:
    return select(Report).where(Report.study_id == study_id).order_by(Report.revision.desc())
