"""A study whose bytes are gone from the object store says so, and goes on when they are back."""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest

from hulumed_platform.archive.intake import Intake
from hulumed_platform.archive.registration import Registration
from hulumed_platform.storage import missing
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.local import LocalObjects
from hulumed_platform.storage.models import Study, StudyState
from hulumed_platform.storage.studies import Studies
from hulumed_platform.storage.workflow import Workflow
from hulumed_platform.worker.missing_objects import MissingObjects
from hulumed_platform.worker.study_workflow import Outcome, StudyWorkflow
from tests.gateway.dicom import STUDY, instance
from tests.support.completing import complete_quiet
from tests.support.study_desk import TENANT

OTHER = "1.2.826.0.1.3680043.8.498.2"


class Ward:
    """Two studies of one instance each, and what looks for what is gone."""

    def __init__(self, database: Database, objects: LocalObjects) -> None:
        self.database = database
        self.objects = objects
        self.looks = MissingObjects(database, objects, TENANT)
        self.sent = {study: instance(StudyInstanceUID=study) for study in (STUDY, OTHER)}
        for study in self.sent:
            self.send(study)
        with database.session() as session:
            complete_quiet(session, datetime.now(UTC), quiet_s=0)

    def send(self, study: str) -> None:
        """Send the instance of a study, for the first time or again."""
        intake = Intake(self.objects, Registration(self.database), tenant=TENANT, max_instance_bytes=1 << 20)
        assert intake.store(BytesIO(self.sent[study])).failure_reason is None

    def lose(self, study: str) -> None:
        """Take the bytes away behind the platform's back."""
        with self.database.reading() as session:
            (row,) = Studies(session).instances(self.study(study).id)
        self.objects.delete(TENANT, row.digest)

    def study(self, uid: str = STUDY) -> Study:
        """The study as it is now."""
        with self.database.reading() as session:
            return Studies(session).get(TENANT, uid)


@pytest.fixture
def ward(database: Database, tmp_path: Path) -> Ward:
    """Two complete studies."""
    return Ward(database, LocalObjects(tmp_path / "objects"))


def test_a_study_fails_with_its_reason_and_goes_on(ward: Ward, workflow: StudyWorkflow) -> None:
    """It fails while its bytes are gone, nobody works on it; sent again, it is worked on. The other one is let be."""
    ward.lose(STUDY)
    for _ in range(2):
        ward.looks.look()
        assert ward.study().state is StudyState.FAILED
        assert ward.study().state_reason == missing.REASON
        assert ward.study(OTHER).state is StudyState.COMPLETE
    assert workflow.run(ward.study().id) is Outcome.NOT_DUE

    ward.send(STUDY)
    ward.looks.look()
    assert ward.study().state is StudyState.COMPLETE
    assert ward.study().state_reason is None
    assert workflow.run(ward.study().id) is Outcome.REPORTED


def test_a_reported_study_keeps_its_report(ward: Ward, workflow: StudyWorkflow) -> None:
    """It fails when its bytes are gone, and is reported again, by the report that it has, when they are back."""
    assert workflow.run(ward.study().id) is Outcome.REPORTED
    ward.lose(STUDY)
    ward.looks.look()
    assert ward.study().state is StudyState.FAILED
    ward.send(STUDY)
    ward.looks.look()
    assert ward.study().state is StudyState.REPORTED
    assert workflow.run(ward.study().id) is Outcome.NOT_DUE


def test_who_works_on_it_loses_it(ward: Ward, database: Database) -> None:
    """A study that fails while it is worked on is nobody's any more."""
    now = datetime.now(UTC)
    with database.session() as session:
        claim = Workflow(session).claim(ward.study().id, "worker", now, 60)
    assert claim is not None
    ward.lose(STUDY)
    ward.looks.look()
    with database.session() as session:
        assert not Workflow(session).renew(claim, now, 60)


def test_an_open_study_is_looked_at_when_it_is_complete(ward: Ward) -> None:
    """While images come the sender may send again what is gone; only then the study fails."""
    ward.lose(STUDY)
    late = instance(StudyInstanceUID=STUDY)
    intake = Intake(ward.objects, Registration(ward.database), tenant=TENANT, max_instance_bytes=1 << 20)
    assert intake.store(BytesIO(late)).failure_reason is None
    ward.looks.look()
    assert ward.study().state is StudyState.RECEIVING
    with ward.database.session() as session:
        complete_quiet(session, datetime.now(UTC), quiet_s=0)
    ward.looks.look()
    assert ward.study().state is StudyState.FAILED
