"""A worker process that follows its rules file."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import StudyState
from tests.support.decoder import ScriptedDecoder
from tests.support.study_desk import StudyDesk, wait_until
from tests.support.worker import WorkerPlace

RULES = """
completion: {series_quiet_s: 0.2, study_quiet_s: 0.2}
rules:
  - name: head-mr
    when: MODALITY == 'MR'
    prompt: {text: Report the head.}
"""


@pytest.fixture
def place(tmp_path: Path, scripted_decoder: ScriptedDecoder) -> WorkerPlace:
    """A place for workers with the broker that needs no server."""
    return WorkerPlace(tmp_path, f"filesystem://{tmp_path / 'broker'}", scripted_decoder.address)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[StudyDesk]:
    """Posts studies into the worker's database."""
    database = Database(f"sqlite:///{tmp_path / 'platform.sqlite'}")
    database.migrate()
    yield StudyDesk(database)
    database.close()


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    """A file with a fault in line 5."""
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return file


def test_a_worker_does_not_start_on_a_broken_file(place: WorkerPlace, rules_file: Path) -> None:
    """There are no rules before it that could count on; the last word of the process names the line."""
    environment = place.settings(rules_file=rules_file).as_environment()
    command = [sys.executable, "-m", "hulumed_platform.worker"]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert f"rules_file: {rules_file}: line 5: rules.1.when: column 1: MODALITY is no DICOM keyword" in done.stderr


def test_a_running_worker_takes_new_rules(
    place: WorkerPlace,
    desk: StudyDesk,
    scripted_decoder: ScriptedDecoder,
    rules_file: Path,
) -> None:
    """A study that no rule was for is reported once there is one; a broken file shows and stops nothing."""
    rules_file.write_text(RULES.replace("MODALITY", "Modality"))
    with place.running_worker(rules_file=rules_file) as worker:
        study = desk.post(1)
        desk.wait_for(study, StudyState.UNMATCHED)
        rules_file.write_text(RULES)
        wait_until(lambda: not worker.is_ready(), "the worker says that its rules are broken")
        rules_file.write_text(RULES.replace("MODALITY == 'MR'", "true"))
        desk.wait_for(study, StudyState.REPORTED)
        wait_until(worker.is_ready, "the worker is ready again")
    (report,) = desk.reports(study)
    assert report.provenance["rule"]["name"] == "head-mr"
    assert scripted_decoder.asked[0].messages[0].parts[-1].text == "Report the head."
