"""Reports read back as they were written."""

from dataclasses import fields, replace

import pytest
from sqlalchemy.exc import StatementError

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.records import ReportRecord
from hulumed_platform.storage.reports import Reports
from hulumed_platform.storage.studies import Studies
from hulumed_platform.storage.workflow import Workflow
from tests.storage.rows import STUDY_UID, after, digest, instance, report
from tests.support.completing import complete_quiet


def add_report(database: Database, number: int, record: ReportRecord) -> str:
    """Post one more instance and report on the study; return the study's id."""
    with database.session() as session:
        Studies(session).register(instance(number))
        study_id = Studies(session).get("acme", STUDY_UID).id
        complete_quiet(session, after(60), quiet_s=10)
        claim = Workflow(session).claim(study_id, "worker", after(61), lease_s=60)
        assert claim is not None
        assert Workflow(session).finish(claim, record)
    return study_id


def test_a_report_comes_back_whole(database: Database) -> None:
    """Every field, nested provenance, fractions, and text beyond ASCII."""
    written = report("Größe 3 µm, 胸部", created_at=after(1.5), evidence=digest("evidence"))
    study_id = add_report(database, 1, written)
    with database.reading() as session:
        read = Reports(session).by_revision(study_id, 1)
        assert {f.name: getattr(read, f.name) for f in fields(written)} == {
            f.name: getattr(written, f.name) for f in fields(written)
        }


def test_each_revision_keeps_its_report(database: Database) -> None:
    """What was said about an earlier content of the study stays on record."""
    for number, text in enumerate(("first", "second"), start=1):
        study_id = add_report(database, number, report(text))
    with database.reading() as session:
        reports = Reports(session)
        latest = reports.latest(study_id)
        assert latest is not None
        assert (latest.revision, latest.text) == (2, "second")
        assert reports.by_revision(study_id, 1).text == "first"
        assert [r.revision for r in reports.history(study_id)] == [2, 1]


def test_no_report_yet(database: Database) -> None:
    """None, an error that says which, and an empty history."""
    with database.reading() as session:
        reports = Reports(session)
        assert reports.latest("study-0") is None
        assert reports.history("study-0") == []
        with pytest.raises(PlatformError, match="Revision 3") as caught:
            reports.by_revision("study-0", 3)
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_a_model_may_write_nul(database: Database) -> None:
    """An untrained byte-level model does, and PostgreSQL refuses it in text; the report is stored all the same."""
    study_id = add_report(database, 1, report("a\x00b"))
    with database.reading() as session:
        assert Reports(session).by_revision(study_id, 1).text == "a\N{REPLACEMENT CHARACTER}b"


def test_provenance_is_json_on_every_database(database: Database) -> None:
    """Order and NUL are kept; NaN, which is no JSON, is refused rather than stored on one database only."""
    provenance = {"z": 1, "a": "\x00", "list": [1.5, None, True]}
    study_id = add_report(database, 1, replace(report(), provenance=provenance))
    with database.reading() as session:
        read = Reports(session).by_revision(study_id, 1).provenance
    assert (read, list(read)) == (provenance, ["z", "a", "list"])
    with pytest.raises((StatementError, ValueError), match="not JSON compliant"):
        add_report(database, 2, replace(report(), provenance={"seconds": float("nan")}))
