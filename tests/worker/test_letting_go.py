"""What is over goes, bytes and all; what anything names stays."""

from datetime import UTC, datetime, timedelta

import pytest

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.files import Files
from hulumed_platform.storage.local import LocalObjects
from hulumed_platform.worker.letting_go import LettingGo
from hulumed_platform.worker.study_workflow import StudyWorkflow
from tests.support.study_desk import TENANT, StudyDesk


def test_an_expired_file_goes_with_its_bytes(database: Database, objects: LocalObjects) -> None:
    """Two files share bytes: they go with the last one."""
    now = datetime.now(UTC)
    stored = objects.put(TENANT, [b"an image"])
    with database.session() as session:
        files = Files(session)
        given = {"media_type": "image/png", "purpose": "attachment", "now": now}
        files.add(TENANT, stored, expires_at=now - timedelta(seconds=1), **given)  # type: ignore[arg-type]
        kept = files.add(TENANT, stored, **given)  # type: ignore[arg-type]
    letting_go = LettingGo(database, objects, TENANT, orphan_age_s=0)

    letting_go.let_go()
    assert objects.read(TENANT, stored.digest) == b"an image"

    with database.session() as session:
        Files(session).delete(TENANT, kept.id)
    letting_go.let_go()
    with pytest.raises(PlatformError):
        objects.size(TENANT, stored.digest)


def test_young_orphans_and_evidence_stay(
    desk: StudyDesk, workflow: StudyWorkflow, database: Database, objects: LocalObjects
) -> None:
    """Bytes are stored before their row, so a young object may still get one; a report's evidence is named by it."""
    study_id = desk.post_complete(1)
    workflow.run(study_id)
    (report,) = desk.reports(study_id)
    assert report.evidence_digest is not None
    orphan = objects.put(TENANT, [b"still uploading"])

    LettingGo(database, objects, TENANT, orphan_age_s=3600).let_go()
    assert objects.exists(TENANT, orphan.digest)

    LettingGo(database, objects, TENANT, orphan_age_s=0).let_go()
    assert not objects.exists(TENANT, orphan.digest)
    assert objects.exists(TENANT, report.evidence_digest)
