"""An attempt at a study ends in exactly one report, or says why not and what comes next."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.rpc.clients import DecoderClient, open_channel
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.local import LocalObjects
from hulumed_platform.storage.models import StudyState
from hulumed_platform.storage.workflow import Workflow
from hulumed_platform.worker.study_workflow import Outcome, RetryRule, StudyWorkflow
from tests.support.decoder import MAX_CONTEXT_TOKENS, Holds, ScriptedDecoder, answers, breaks_off, fails
from tests.support.processes import free_ports
from tests.support.study_desk import TENANT, StudyDesk, wait_until
from tests.worker.conftest import MakeWorkflow

BROKEN = PlatformError(ErrorCode.INVALID_INPUT, "instance 2 of 3: the pixels are cut off; send the file again")
BUSY = PlatformError(ErrorCode.BUSY, "the decoder room is full; try again in a moment")


def test_a_study_gets_its_report(
    desk: StudyDesk, workflow: StudyWorkflow, scripted_decoder: ScriptedDecoder, objects: LocalObjects
) -> None:
    """The report holds the text, the counts and the provenance of the answer; its evidence is in the object store."""
    scripted_decoder.script.append(answers("Findings: a nodule."))
    study_id = desk.post_complete(1, 2, 3)

    assert workflow.run(study_id) is Outcome.REPORTED

    assert desk.state(study_id) is StudyState.REPORTED
    (report,) = desk.reports(study_id)
    assert (report.revision, report.text, report.finish_reason) == (3, "Findings: a nodule.", "stop")
    assert (report.visual_tokens_before, report.visual_tokens_after) == (12, 6)
    assert (report.model_label, report.trained) == ("scripted", False)
    assert report.provenance["items"][0]["kind"] == "volume"
    assert report.evidence_digest is not None
    evidence = json.loads(objects.read(TENANT, report.evidence_digest))
    assert [base64.b64decode(plane["kept_bits"]) for plane in evidence["items"][0]["planes"]] == [b"\xc0"] * 3


def test_the_decoder_is_asked_for_all_instances_by_reference(
    desk: StudyDesk, workflow: StudyWorkflow, scripted_decoder: ScriptedDecoder
) -> None:
    """One medium with every instance stands before the text; labels say nothing of the patient; decoding is greedy."""
    workflow.run(desk.post_complete(1, 2))

    (request,) = scripted_decoder.asked
    assert scripted_decoder.planned == [request]
    assert request.tenant == TENANT
    (medium,) = request.media
    assert [one.label for one in medium.objects] == ["instance 1 of 2", "instance 2 of 2"]
    system, user = request.messages
    assert (system.role, system.parts[0].text) == ("system", "You report.")
    assert user.role == "user"
    assert [part.WhichOneof("part") for part in user.parts] == ["media", "text"]
    assert (request.sampling.temperature, request.sampling.max_new_tokens) == (0.0, 32)


def test_a_doubled_message_runs_once(
    desk: StudyDesk, workflow: StudyWorkflow, scripted_decoder: ScriptedDecoder
) -> None:
    """A message that comes twice, at the same time or later, leads to one question and one report."""
    study_id = desk.post_complete(1)
    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(workflow.run, [study_id] * 4))
    outcomes.append(workflow.run(study_id))

    assert sorted(outcomes) == [Outcome.NOT_DUE] * 4 + [Outcome.REPORTED]
    assert len(scripted_decoder.asked) == len(desk.reports(study_id)) == 1


def test_what_is_wrong_with_a_study_is_not_tried_again(
    desk: StudyDesk, workflow: StudyWorkflow, scripted_decoder: ScriptedDecoder
) -> None:
    """A fault of the input fails for good with the words of the room that found it, before a GPU was asked."""
    scripted_decoder.plan_error = BROKEN
    study_id = desk.post_complete(1, 2, 3)

    assert workflow.run(study_id) is Outcome.FAILED

    study = desk.study(study_id)
    assert (study.state, study.state_reason, study.next_retry_at) == (StudyState.FAILED, BROKEN.message, None)
    assert workflow.run(study_id) is Outcome.NOT_DUE
    assert scripted_decoder.asked == []


def test_new_instances_open_a_failed_study_again(
    desk: StudyDesk, workflow: StudyWorkflow, scripted_decoder: ScriptedDecoder
) -> None:
    """A sender mends a study by sending what was missing."""
    scripted_decoder.plan_error = BROKEN
    workflow.run(desk.post_complete(1))
    scripted_decoder.plan_error = None

    assert workflow.run(desk.post_complete(1, 2)) is Outcome.REPORTED


def test_a_study_that_does_not_fit_fails_before_the_gpu(
    desk: StudyDesk, workflow: StudyWorkflow, scripted_decoder: ScriptedDecoder
) -> None:
    """The plan knows the tokens exactly, so the reason has numbers and nothing was encoded."""
    scripted_decoder.prompt_tokens = MAX_CONTEXT_TOKENS
    study_id = desk.post_complete(1)

    assert workflow.run(study_id) is Outcome.FAILED

    assert f"needs {MAX_CONTEXT_TOKENS} tokens" in (desk.study(study_id).state_reason or "")
    assert scripted_decoder.asked == []


@pytest.mark.parametrize(
    "behaviour",
    [
        fails(BUSY),
        fails(PlatformError(ErrorCode.DEADLINE, "too slow")),
        fails(PlatformError(ErrorCode.CANCELLED, "the decoder drains")),
        breaks_off(),
    ],
    ids=["busy", "deadline", "cancelled", "broken off"],
)
def test_what_passes_is_tried_again(
    desk: StudyDesk, make_workflow: MakeWorkflow, scripted_decoder: ScriptedDecoder, behaviour: object
) -> None:
    """A failure that is no fault of the study waits for its time in SQL; nothing of the answer is kept."""
    scripted_decoder.script.append(behaviour)  # type: ignore[arg-type]
    study_id = desk.post_complete(1)

    assert make_workflow().run(study_id) is Outcome.RETRY

    study = desk.study(study_id)
    assert study.state is StudyState.FAILED
    assert study.next_retry_at is not None
    assert 5 < (study.next_retry_at - datetime.now(UTC)).total_seconds() <= 10
    assert desk.reports(study_id) == []


def test_a_decoder_that_is_away_is_waited_for(desk: StudyDesk, make_workflow: MakeWorkflow) -> None:
    """Nobody listens where the decoder should be: the study is tried again."""
    (port,) = free_ports(1)
    with open_channel(f"127.0.0.1:{port}") as channel:
        workflow = make_workflow(decoder=DecoderClient(channel))
        assert workflow.run(desk.post_complete(1)) is Outcome.RETRY


def test_the_last_attempt_fails_for_good(
    desk: StudyDesk, make_workflow: MakeWorkflow, scripted_decoder: ScriptedDecoder
) -> None:
    """A failure that never passes ends after `max_attempts`, with the last reason."""
    scripted_decoder.script.append(fails(BUSY))
    study_id = desk.post_complete(1)

    assert make_workflow(max_attempts=1).run(study_id) is Outcome.FAILED

    assert desk.study(study_id).state_reason == BUSY.message


def test_a_study_that_kills_its_workers_is_given_up(
    desk: StudyDesk, database: Database, make_workflow: MakeWorkflow, scripted_decoder: ScriptedDecoder
) -> None:
    """Attempts count even if nobody lived to tell; the one too many asks no decoder."""
    study_id = desk.post_complete(1)
    for _ in range(2):
        with database.session() as session:
            assert Workflow(session).claim(study_id, "a dead worker", datetime.now(UTC), lease_s=0)

    assert make_workflow(max_attempts=2).run(study_id) is Outcome.FAILED

    assert "2 attempts" in (desk.study(study_id).state_reason or "")
    assert scripted_decoder.planned == []


def test_a_late_instance_supersedes_the_running_attempt(
    desk: StudyDesk, make_workflow: MakeWorkflow, scripted_decoder: ScriptedDecoder
) -> None:
    """The attempt at the old revision is cancelled, leaves no report, and the study goes on with all instances."""
    holds = Holds()
    scripted_decoder.script.append(holds)
    workflow = make_workflow(lease_s=0.3)
    study_id = desk.post_complete(1)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(workflow.run, study_id)
        assert holds.reached.wait(10)
        desk.post_complete(2)
        assert running.result(10) is Outcome.SUPERSEDED
    assert holds.left.wait(10)
    assert desk.reports(study_id) == []

    assert workflow.run(study_id) is Outcome.REPORTED
    (report,) = desk.reports(study_id)
    assert report.revision == 2
    assert len(scripted_decoder.asked[-1].media[0].objects) == 2


def test_an_answer_that_comes_too_late_is_dropped(
    desk: StudyDesk, workflow: StudyWorkflow, scripted_decoder: ScriptedDecoder
) -> None:
    """A new instance between the last renewal and the end of the answer: the report of the old revision is not kept."""
    holds = Holds()
    scripted_decoder.script.append(holds)
    study_id = desk.post_complete(1)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(workflow.run, study_id)
        assert holds.reached.wait(10)
        desk.post_complete(2)
        holds.let_go.set()
        assert running.result(10) is Outcome.SUPERSEDED
    assert desk.reports(study_id) == []


def test_a_long_answer_keeps_its_study(
    desk: StudyDesk, make_workflow: MakeWorkflow, scripted_decoder: ScriptedDecoder
) -> None:
    """The lease is renewed while the work goes on: nobody else gets the study, however long it takes."""
    holds = Holds()
    scripted_decoder.script.append(holds)
    workflow, other = make_workflow(lease_s=0.3), make_workflow(lease_s=0.3)
    study_id = desk.post_complete(1)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(workflow.run, study_id)
        assert holds.reached.wait(10)
        first_lease = desk.study(study_id).lease_expires_at
        assert first_lease is not None
        wait_until(lambda: datetime.now(UTC) > first_lease, "the first lease ended")
        assert other.run(study_id) is Outcome.NOT_DUE
        holds.let_go.set()
        assert running.result(10) is Outcome.REPORTED


def test_a_worker_that_stops_gives_the_study_back(
    desk: StudyDesk, make_workflow: MakeWorkflow, scripted_decoder: ScriptedDecoder
) -> None:
    """The decoder is freed, the study is due at once, and the worker takes no other one."""
    holds = Holds()
    scripted_decoder.script.append(holds)
    workflow = make_workflow()
    study_id = desk.post_complete(1)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(workflow.run, study_id)
        assert holds.reached.wait(10)
        workflow.give_up()
        assert running.result(10) is Outcome.RELEASED
    assert holds.left.wait(10)
    study = desk.study(study_id)
    assert (study.state, study.lease_owner) == (StudyState.COMPLETE, None)

    assert workflow.run(study_id) is Outcome.RELEASED
    assert make_workflow().run(study_id) is Outcome.REPORTED


def test_a_fault_of_ours_fails_the_study_and_not_the_worker(
    desk: StudyDesk, make_workflow: MakeWorkflow, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody expected goes to the log under a correlation id; the user reads the id and nothing else."""

    class BrokenStore:
        def put(self, *_: object) -> None:
            raise RuntimeError("a fault of ours that may name a patient")

    study_id = desk.post_complete(1)

    assert make_workflow(objects=BrokenStore()).run(study_id) is Outcome.FAILED

    reason = desk.study(study_id).state_reason or ""
    correlation_id = reason.rpartition(" ")[2]
    assert "patient" not in reason
    assert correlation_id in {getattr(record, "correlation_id", None) for record in caplog.records}


def test_pauses_double_up_to_the_longest() -> None:
    """Attempt by attempt the pause doubles, and it is never shorter than what the failing room asks for."""
    rule = RetryRule(max_attempts=2000, after_s=10.0, max_after_s=60.0)
    assert [rule.pause(BUSY, attempt) for attempt in (1, 2, 3, 4, 1999)] == [
        timedelta(seconds=s) for s in (10, 20, 40, 60, 60)
    ]
    patient_one = PlatformError(ErrorCode.UNAVAILABLE, "loading", retry_after_s=90.0)
    assert rule.pause(patient_one, 1) == timedelta(seconds=90)
    assert rule.pause(BROKEN, 1) is None
