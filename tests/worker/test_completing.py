"""The completion engine over SQL: real rules, real rows, a clock that is given."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hulumed_platform.archive.completion import Reason
from hulumed_platform.archive.rules.load import read_rules
from hulumed_platform.archive.rules.reload import LiveRules
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.endings import WHOLE_STUDY_STOW, end_explicitly
from hulumed_platform.storage.models import Study, StudyState
from hulumed_platform.storage.records import DicomAttributes
from hulumed_platform.storage.studies import Studies
from hulumed_platform.worker import metrics
from hulumed_platform.worker.completing import Completing
from hulumed_platform.worker.sweeper import Sweeper
from tests.storage.rows import STUDY_UID, after, instance
from tests.support.rules import live

RULES = """
completion: {series_quiet_s: 60, study_quiet_s: 60, force_s: 1000}
rules:
  - name: chest-ct
    when: Modality == 'CT'
    prompt: {text: Report the chest.}
    priority: 7
    completion:
      required_series: [Modality == 'CT' and SliceThickness < 2]
      on_force: fail
      end_on_study_stow: true
  - name: head-mr
    when: Modality == 'MR'
    prompt: {text: Report the head.}
"""


@dataclass
class Bench:
    """A database, a rules file and the engine over both."""

    database: Database
    path: Path
    completing: Completing

    def post(
        self, number: int = 1, *, at: float = 0, modality: str = "CT", thickness: str = "5", series: int = 1
    ) -> None:
        """Store an instance of the study."""
        record = instance(number, series=series, received_at=after(at))
        attributes = DicomAttributes(
            study={"00100010": _element({"Alphabetic": "DOE^JANE"})},
            series={"00080060": _element(modality)},
            instance={"00180050": _element(thickness)},
        )
        with self.database.session() as session:
            Studies(session).register(replace(record, modality=modality, attributes=attributes))

    def look(self, seconds: float) -> Study:
        """Look at such a time; return the study as it is then."""
        self.completing.look(after(seconds))
        with self.database.reading() as session:
            return Studies(session).get("acme", STUDY_UID)


def _element(*values: Any) -> dict[str, Any]:
    return {"vr": "LO", "Value": list(values)}


def sentence(study: Study, seconds: float) -> str:
    assert study.completion is not None
    return Reason.from_json(study.completion).sentence(after(seconds))


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    """An empty database with the rules above."""
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return Bench(database, path, Completing(database, LiveRules(read_rules(path), path)))


def test_a_study_completes_by_its_rule(bench: Bench) -> None:
    """Quiet, with its required series: it goes on with the whole rule that it was completed by."""
    bench.post(thickness="1.25")
    waiting = bench.look(42)
    assert waiting.state is StudyState.RECEIVING
    assert sentence(waiting, 43) == f"series {STUDY_UID}.1 received its last image 43 s ago; quiet time is 60 s"
    complete = bench.look(60)
    assert (complete.state, complete.priority) == (StudyState.COMPLETE, 7)
    assert complete.rule is not None
    assert complete.rule["rule"]["name"] == "chest-ct"
    assert complete.rule["digest"] == read_rules(bench.path).digest


def test_a_study_waits_for_its_required_series(bench: Bench) -> None:
    """A quiet study that lacks one says which; when it comes, its quiet time runs; at the limit the study fails."""
    bench.post()
    waiting = bench.look(100)
    assert "waits for required series: Modality == 'CT' and SliceThickness < 2" in sentence(waiting, 100)
    assert waiting.look_at == after(1000)
    failed = bench.look(1000)
    assert (failed.state, failed.next_retry_at) == (StudyState.FAILED, None)
    assert failed.state_reason is not None
    assert "missing required series: Modality == 'CT' and SliceThickness < 2" in failed.state_reason
    bench.post(series=2, thickness="1", at=1100)
    assert bench.look(1159).state is StudyState.RECEIVING
    assert bench.look(1160).state is StudyState.COMPLETE


@pytest.mark.parametrize(("reason", "modality"), [("UPS workitem", "MR"), (WHOLE_STUDY_STOW, "CT")])
def test_the_word_of_a_sender_ends_a_study(bench: Bench, reason: str, modality: str) -> None:
    """Nobody has to wait for silence."""
    bench.post(modality=modality, thickness="1")
    assert bench.look(1).state is StudyState.RECEIVING
    with bench.database.session() as session:
        assert end_explicitly(session, "acme", STUDY_UID, reason, after(2))
    ended = bench.look(2)
    assert (ended.state, sentence(ended, 2)) == (StudyState.COMPLETE, f"ended explicitly: {reason}")


def test_a_whole_study_stow_ends_only_where_the_rule_says_so(bench: Bench) -> None:
    """Many senders post a study in several requests of the same form."""
    bench.post(modality="MR")
    with bench.database.session() as session:
        assert end_explicitly(session, "acme", STUDY_UID, WHOLE_STUDY_STOW, after(2))
    assert bench.look(2).state is StudyState.RECEIVING
    assert bench.look(60).state is StudyState.COMPLETE


def test_a_study_that_nothing_matches_goes_nowhere_and_says_so(bench: Bench) -> None:
    """It is listed with the reason, counted, and reconsidered when images or rules are new."""
    counted = metrics.STUDIES_OVER.labels("unmatched", "unmatched")._value.get()
    bench.post(modality="US")
    assert bench.look(59).state is StudyState.RECEIVING
    unmatched = bench.look(60)
    assert unmatched.state is StudyState.UNMATCHED
    assert sentence(unmatched, 60) == "no rule matches, so it goes nowhere; there are: chest-ct; head-mr"
    assert metrics.STUDIES_OVER.labels("unmatched", "unmatched")._value.get() == counted + 1
    assert bench.look(5000).state is StudyState.UNMATCHED

    bench.path.write_text(RULES.replace("Modality == 'MR'", "Modality == 'US'"))
    matched = bench.look(5001)
    assert matched.rule is not None
    assert (matched.state, matched.rule["rule"]["name"]) == (StudyState.COMPLETE, "head-mr")

    bench.post(2, series=2, modality="US", at=6000)
    assert bench.look(6000).state is StudyState.RECEIVING


def test_a_broken_rules_file_changes_nothing(bench: Bench) -> None:
    """The rules before it count on, and a metric says so."""
    bench.path.write_text("rules: [")
    bench.post(modality="MR")
    assert bench.look(60).state is StudyState.COMPLETE
    assert metrics.RULES_BROKEN._value.get() == 1
    bench.path.write_text(RULES)
    bench.look(61)
    assert metrics.RULES_BROKEN._value.get() == 0


def test_workers_with_old_and_new_rules_do_not_undo_each_other(bench: Bench, tmp_path: Path) -> None:
    """While a new file spreads, an unmatched study is reconsidered once by each, not for ever."""
    bench.post(modality="US")
    other = tmp_path / "other.yaml"
    other.write_text(RULES.replace("head-mr", "brain-mr"))
    second = Completing(bench.database, LiveRules(read_rules(other), other))
    seen = []
    for seconds in range(60, 70):
        second.look(after(seconds))
        seen.append(bench.look(seconds).updated_at)
    assert len(set(seen[2:])) == 1


def test_the_engine_survives_a_restart(bench: Bench) -> None:
    """All that it knows is in SQL: a new process goes on where the old one was."""
    bench.post(modality="MR")
    bench.look(30)
    bench.completing = Completing(bench.database, LiveRules(read_rules(bench.path), bench.path))
    assert bench.look(59).state is StudyState.RECEIVING
    assert bench.look(60).state is StudyState.COMPLETE


def test_the_logs_name_no_patient(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Ids, states and names of rules; no attribute of the study."""
    bench.post(thickness="1")
    with caplog.at_level(logging.DEBUG):
        bench.look(100)
    (record,) = [each for each in caplog.records if each.msg == "study is over"]
    told = str(record.__dict__)
    assert "chest-ct" in told
    assert "DOE" not in told
    assert STUDY_UID not in told


def test_a_flood_is_worked_off(database: Database) -> None:
    """More studies than one batch are looked at in one go."""
    with database.session() as session:
        for number in range(450):
            Studies(session).register(instance(study=f"1.2.{number}"))
    sent: list[str] = []
    clock: Callable[[], Any] = lambda: after(30)  # noqa: E731
    Sweeper(database, sent.append, Completing(database, live(quiet_s=30)), pickup_s=60, clock=clock).sweep()
    assert metrics.STUDIES.labels("receiving")._value.get() == 0
    assert len(sent) == 100
