"""What a study's rule makes of the question: which series, which window, which words, and what the report tells."""

from dataclasses import replace
from typing import Any

from hulumed_platform.archive.rules.chosen import ChosenRule
from hulumed_platform.rpc.v1 import media_pb2
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import StudyState
from hulumed_platform.storage.receiving import Look, Receiving
from hulumed_platform.storage.records import DicomAttributes
from hulumed_platform.storage.studies import Studies
from hulumed_platform.worker.study_workflow import Outcome, StudyWorkflow
from tests.storage.rows import NOON, STUDY_UID, instance
from tests.support.decoder import ScriptedDecoder
from tests.support.rules import rules
from tests.support.study_desk import TENANT, StudyDesk

RULE = """
rules:
  - name: chest-ct
    when: Modality == 'CT'
    series: not ImageType == 'LOCALIZER'
    prompt: {system: Be brief., text: Report the chest., max_new_tokens: 77}
    window: {center: 40, width: 400}
    axis: coronal
    num_planes: 9
"""


def post(database: Database, text: str, *image_types: str) -> tuple[str, ChosenRule]:
    """Store a study of one series of each image type, complete by the first rule of a file; return its id."""
    made = rules(text)
    chosen = ChosenRule(made.rules[0], made.digest)
    with database.session() as session:
        for number, image_type in enumerate(image_types, start=1):
            given: dict[str, Any] = {"00080008": {"vr": "CS", "Value": ["ORIGINAL", image_type]}}
            record = instance(1, series=number)
            Studies(session).register(replace(record, attributes=DicomAttributes(instance=given)))
        study = Studies(session).get(TENANT, STUDY_UID)
        look = Look(state=StudyState.COMPLETE, completion={}, rules_digest=made.digest, rule=chosen.to_json())
        assert Receiving(session).write(study, look, NOON)
    return study.id, chosen


def test_the_decoder_is_asked_as_the_rule_says(
    database: Database, desk: StudyDesk, workflow: StudyWorkflow, scripted_decoder: ScriptedDecoder
) -> None:
    """Chosen series only, with the rule's window, planes and words; the report names rule and digest."""
    study_id, chosen = post(database, RULE, "AXIAL", "LOCALIZER")

    assert workflow.run(study_id) is Outcome.REPORTED

    (request,) = scripted_decoder.asked
    (medium,) = request.media
    assert [one.digest for one in medium.objects] == [instance(1, series=1).digest]
    window = media_pb2.Window(center=40, width=400)
    assert medium.options == media_pb2.PrepareOptions(window=window, axis=media_pb2.AXIS_CORONAL, num_planes=9)
    assert [message.parts[-1].text for message in request.messages] == ["Be brief.", "Report the chest."]
    assert request.sampling.max_new_tokens == 77
    (report,) = desk.reports(study_id)
    assert report.provenance["rule"] == {"name": "chest-ct", "digest": chosen.digest}


def test_a_rule_that_chooses_nothing_says_so(database: Database, desk: StudyDesk, workflow: StudyWorkflow) -> None:
    """The study fails for good, and the reason shows the expression to mend."""
    study_id, _ = post(database, RULE, "LOCALIZER", "LOCALIZER")
    assert workflow.run(study_id) is Outcome.FAILED
    study = desk.study(study_id)
    assert study.next_retry_at is None
    assert study.state_reason == ("Rule chest-ct chooses no series by its expression: not ImageType == 'LOCALIZER'")


def test_a_study_without_a_rule_gets_the_built_in_one(
    desk: StudyDesk, workflow: StudyWorkflow, scripted_decoder: ScriptedDecoder
) -> None:
    """It was complete before this version, or another worker has no rules file: options stay unsaid."""
    study_id = desk.post_complete(1)
    assert workflow.run(study_id) is Outcome.REPORTED
    assert not scripted_decoder.asked[0].media[0].HasField("options")
    assert desk.reports(study_id)[0].provenance["rule"]["name"] == "built-in"
