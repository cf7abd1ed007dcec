"""A worker's surroundings: an empty database and object store, and a workflow that asks a scripted decoder."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hulumed_platform.archive.rules.schema import Prompt
from hulumed_platform.rpc.clients import DecoderClient, open_channel
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.local import LocalObjects
from hulumed_platform.worker.priors import PriorFinder
from hulumed_platform.worker.reporting import Reporter
from hulumed_platform.worker.study_workflow import RetryRule, StudyWorkflow
from tests.support.decoder import ScriptedDecoder
from tests.support.rules import builtin_rule
from tests.support.study_desk import StudyDesk

MakeWorkflow = Callable[..., StudyWorkflow]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database with the current schema."""
    opened = Database(f"sqlite:///{tmp_path / 'platform.sqlite'}")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    """An empty object store."""
    return LocalObjects(tmp_path / "objects")


@pytest.fixture
def desk(database: Database) -> StudyDesk:
    """Posts studies and looks at what became of them."""
    return StudyDesk(database)


@pytest.fixture
def make_workflow(
    database: Database, objects: LocalObjects, scripted_decoder: ScriptedDecoder
) -> Iterator[MakeWorkflow]:
    """Makes workflows, each of another worker, that ask the scripted decoder."""
    with open_channel(scripted_decoder.address) as channel:

        def make(*, lease_s: float = 60.0, max_attempts: int = 3, **changes: Any) -> StudyWorkflow:
            given: dict[str, Any] = {
                "database": database,
                "objects": objects,
                "decoder": DecoderClient(channel),
                "fallback": builtin_rule(Prompt(text="Report!", system="You report.", max_new_tokens=32)),
                "priors": PriorFinder(database, objects, dict),
                "plan_timeout_s": 10.0,
                "report_timeout_s": 10.0,
            }
            reporter = Reporter(**(given | changes))
            retry = RetryRule(max_attempts, after_s=10.0, max_after_s=25.0)
            return StudyWorkflow(database, reporter, retry, owner="worker", lease_s=lease_s)

        yield make


@pytest.fixture
def workflow(make_workflow: MakeWorkflow) -> StudyWorkflow:
    """A workflow with a long lease."""
    return make_workflow()
