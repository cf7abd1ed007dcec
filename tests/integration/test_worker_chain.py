"""The worker's question to the real chain: a study in storage becomes a report, or a reason in plain words."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from hulumed_platform.archive.rules.schema import Prompt
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import StudyState
from hulumed_platform.storage.studies import Studies
from hulumed_platform.worker.priors import PriorFinder
from hulumed_platform.worker.reporting import Reporter
from hulumed_platform.worker.study_workflow import Outcome, RetryRule, StudyWorkflow
from tests.storage.rows import STUDY_UID, instance
from tests.support.chain import TENANT, Chain
from tests.support.completing import complete_quiet
from tests.support.rules import builtin_rule
from tests.support.study_desk import StudyDesk


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database with the current schema."""
    opened = Database(f"sqlite:///{tmp_path / 'platform.sqlite'}")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def workflow(database: Database, chain: Chain) -> StudyWorkflow:
    """The workflow over the real decoder and its object store."""
    rule = builtin_rule(Prompt(text="Report!", max_new_tokens=8))
    priors = PriorFinder(database, chain.objects, dict)
    reporter = Reporter(database, chain.objects, chain.decoder, rule, priors, plan_timeout_s=60, report_timeout_s=120)
    return StudyWorkflow(database, reporter, RetryRule(3, 1.0, 1.0), owner="worker", lease_s=60)


def post_complete(database: Database, chain: Chain, *names: str) -> str:
    """Store pydicom's sample files as one complete study; return its id."""
    with database.session() as session:
        for number, name in enumerate(names, start=1):
            path = get_testdata_file(name)
            assert isinstance(path, str)
            stored = chain.objects.put(TENANT, [Path(path).read_bytes()])
            record = replace(instance(number, tenant=TENANT), digest=stored.digest, size_bytes=stored.size_bytes)
            Studies(session).register(record)
        complete_quiet(session, datetime.now(UTC), quiet_s=0)
        return Studies(session).get(TENANT, STUDY_UID).id


def test_a_study_becomes_a_report(database: Database, chain: Chain, workflow: StudyWorkflow) -> None:
    """A CT slice is reported on and the structured report beside it left out; all of it stands in the provenance."""
    study_id = post_complete(database, chain, "CT_small.dcm", "test-SR.dcm")

    assert workflow.run(study_id) is Outcome.REPORTED

    (report,) = StudyDesk(database).reports(study_id)
    assert report.completion_tokens > 0
    assert report.model_label == "untrained"
    assert [item["modality"] for item in report.provenance["items"]] == ["CT"]
    assert [left_out["count"] for left_out in report.provenance["left_out"]] == [1]
    assert [stage["stage"] for stage in report.provenance["stages"]] == ["ingest", "encoder", "compressor", "decoder"]


def test_a_study_with_nothing_to_show_says_so(database: Database, chain: Chain, workflow: StudyWorkflow) -> None:
    """Only a structured report: the study fails for good, with the reason that ingest gives."""
    study_id = post_complete(database, chain, "test-SR.dcm")

    assert workflow.run(study_id) is Outcome.FAILED

    study = StudyDesk(database).study(study_id)
    assert (study.state, study.next_retry_at) == (StudyState.FAILED, None)
    assert "1 structured report" in (study.state_reason or "")
