"""Posts studies into a database, as the gateway does, and looks at what became of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import Report, Study, StudyState
from hulumed_platform.storage.reports import Reports
from hulumed_platform.storage.studies import Studies
from tests.storage.rows import STUDY_UID, instance
from tests.support.completing import complete_quiet

TENANT = "acme"


@dataclass(frozen=True)
class StudyDesk:
    """Acts on one database."""

    database: Database

    def post(self, *numbers: int, study: str = STUDY_UID, age_s: float = 0.0) -> str:
        """Register instances of a study, received so long ago; return the study's id."""
        received_at = datetime.now(UTC) - timedelta(seconds=age_s)
        with self.database.session() as session:
            studies = Studies(session)
            for number in numbers:
                studies.register(instance(number, study=study, received_at=received_at))
            return studies.get(TENANT, study).id

    def post_complete(self, *numbers: int) -> str:
        """Register instances and let the study be complete."""
        study_id = self.post(*numbers)
        with self.database.session() as session:
            complete_quiet(session, datetime.now(UTC), quiet_s=0)
        return study_id

    def study(self, study_id: str) -> Study:
        """The study as it is now."""
        with self.database.reading() as session:
            return Studies(session).by_id(study_id)

    def state(self, study_id: str) -> StudyState:
        """The state that the study is in now."""
        return self.study(study_id).state

    def reports(self, study_id: str) -> Sequence[Report]:
        """Every report of the study, the newest first."""
        with self.database.reading() as session:
            return Reports(session).history(study_id)

    def wait_for(self, study_id: str, state: StudyState, *, timeout_s: float = 30.0) -> None:
        """Wait until the study is in a state."""
        wait_until(lambda: self.state(study_id) is state, f"the study is {state.value}", timeout_s=timeout_s)


def wait_until(condition: Callable[[], bool], what: str, *, timeout_s: float = 30.0) -> None:
    """Poll a condition; the test fails when it does not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{timeout_s:g} s went by and it is not so that {what}")
        time.sleep(0.02)
