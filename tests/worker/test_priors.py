"""Priors: fetched from a real PACS or taken from what is here, chosen by the rule, and told in the provenance."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from hulumed_platform.archive.intake import Intake
from hulumed_platform.archive.registration import Registration
from hulumed_platform.archive.rules.chosen import ChosenRule
from hulumed_platform.archive.rules.reload import LiveRules
from hulumed_platform.archive.rules.schema import Peer
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.local import LocalObjects
from hulumed_platform.storage.models import Study, StudyState
from hulumed_platform.storage.studies import Studies
from hulumed_platform.worker.completing import Completing
from hulumed_platform.worker.priors import FoundPriors, PriorFinder
from hulumed_platform.worker.study_workflow import Outcome
from tests.gateway.dicom import instance
from tests.support.decoder import ScriptedDecoder
from tests.support.pacs import Pacs
from tests.support.processes import free_ports
from tests.support.rules import rules
from tests.support.study_desk import StudyDesk
from tests.worker.conftest import MakeWorkflow

CURRENT = "1.2.826.0.1.3680043.8.498.80"
RULE = """
peers:
  archive: {dicomweb: {url: "http://127.0.0.1:1/not-asked"}}
rules:
  - name: with-priors
    when: true
    series: Modality != 'SR'
    prompt: {text: Compare.}
    priors: {count: 2, within_days: 400, source: SOURCE, when_away: WHEN, timeout_s: 20}
    completion: {series_quiet_s: 0, study_quiet_s: 0}
"""


def image(study: str, *, day: str, patient: str = "P1", modality: str = "CT", time: str = "120000") -> bytes:
    given = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "PatientID": patient}
    return instance(**given, StudyDate=day, StudyTime=time, Modality=modality)


@dataclass
class Clinic:
    """A platform with one study of today, and the rule that it goes by."""

    database: Database
    objects: LocalObjects
    peers: dict[str, Peer] = field(default_factory=dict)

    def store(self, *images: bytes) -> None:
        intake = Intake(self.objects, Registration(self.database), tenant="acme", max_instance_bytes=10**7)
        for content in images:
            assert intake.store(io.BytesIO(content)).failure_reason is None

    def complete(self, source: str = "local", when_away: str = "skip") -> str:
        """Store the current study and complete everything that is open; return its id."""
        self.store(image(CURRENT, day="20260301"))
        made = rules(RULE.replace("SOURCE", source).replace("WHEN", when_away))
        self.rule = ChosenRule(made.rules[0], made.digest)
        study = self.study(CURRENT)
        Completing(self.database, LiveRules(made)).look(study.last_received_at)
        return study.id

    @property
    def finder(self) -> PriorFinder:
        return PriorFinder(self.database, self.objects, lambda: self.peers)

    def find(self) -> FoundPriors:
        """The priors of the current study."""
        with self.database.reading() as session:
            study = Studies(session).get("acme", CURRENT)
            instances = Studies(session).instances(study.id)
        ignore: Callable[[Callable[[], object]], None] = lambda _: None  # noqa: E731
        return self.finder.of(study, instances, self.rule.rule, ignore)

    def study(self, uid: str) -> Study:
        with self.database.reading() as session:
            return Studies(session).get("acme", uid)


@pytest.fixture
def clinic(database: Database, objects: LocalObjects) -> Clinic:
    """An empty one."""
    return Clinic(database, objects)


def uids(found: FoundPriors) -> list[str]:
    return [one.study_instance_uid.removeprefix(CURRENT) for one in found.studies]


def test_what_is_here_already(clinic: Clinic) -> None:
    """Of the patient, earlier, not too early, of the same modality, the newest first and no more than wanted."""
    clinic.store(
        image(f"{CURRENT}.1", day="20260101"),
        image(f"{CURRENT}.2", day="20251201"),
        image(f"{CURRENT}.3", day="20251101"),
        image(f"{CURRENT}.4", day="20260201", modality="MR"),
        image(f"{CURRENT}.5", day="20260201", patient="P2"),
        image(f"{CURRENT}.6", day="20260301", time="130000"),
        image(f"{CURRENT}.7", day="20240101"),
        image(f"{CURRENT}.8", day="20260227", modality="SR"),
    )
    clinic.complete()
    found = clinic.find()
    assert uids(found) == [".1", ".2"]
    assert [one.days_before for one in found.studies] == [59, 90]
    assert found.provenance()["priors"]["used"][0] == {
        "study_instance_uid": f"{CURRENT}.1",
        "revision": 1,
        "days_before": 59,
        "num_instances": 1,
    }


@pytest.mark.parametrize("protocol", ["dimse", "dicomweb"])
def test_what_the_pacs_has(clinic: Clinic, pacs: Pacs, protocol: str) -> None:
    """It comes through the one intake, starts no work of its own, and is not fetched again."""
    pacs.give(*(image(f"{CURRENT}.1", day="20260101") for _ in range(3)), image(f"{CURRENT}.2", day="20251201"))
    pacs.give(image(CURRENT, day="20260301"), image(f"{CURRENT}.9", day="20260101", patient="P10"))
    clinic.peers["archive"] = pacs.peer(protocol)
    clinic.complete("archive")
    found = clinic.find()
    assert (uids(found), found.notes) == ([".1", ".2"], [])
    assert [len(one.instances) for one in found.studies] == [3, 1]
    assert clinic.study(f"{CURRENT}.1").state is StudyState.PRIOR
    pacs.empty()
    assert clinic.study(CURRENT).state is StudyState.COMPLETE
    again = clinic.find()
    assert uids(again) == [".1", ".2"]


def test_a_prior_that_is_too_large_is_left_out(clinic: Clinic, pacs: Pacs) -> None:
    """The others come, and the provenance says what is missing."""
    pacs.give(*(image(f"{CURRENT}.1", day="20260101") for _ in range(3)), image(f"{CURRENT}.2", day="20251201"))
    clinic.peers["archive"] = pacs.peer("dicomweb")
    clinic.complete("archive")
    priors = self_limited(clinic, max_instances=2)
    assert uids(priors) == [".2"]
    assert priors.notes == [f"study {CURRENT}.1 has 3 instances, more than the rule allows"]


def self_limited(clinic: Clinic, **changes: int) -> FoundPriors:
    rule = clinic.rule.rule
    assert rule.priors is not None
    limited = rule.model_copy(update={"priors": rule.priors.model_copy(update=changes)})
    clinic.rule = ChosenRule(limited, clinic.rule.digest)
    return clinic.find()


def test_a_pacs_that_is_away_is_skipped_or_waited_for(
    clinic: Clinic, make_workflow: MakeWorkflow, desk: StudyDesk, scripted_decoder: ScriptedDecoder
) -> None:
    """As the rule says: a report that tells why it has no priors, or another attempt later."""
    (port,) = free_ports(1)
    clinic.peers["archive"] = Pacs(0, port).peer("dimse")
    study_id = clinic.complete("archive")
    assert make_workflow(priors=clinic.finder).run(study_id) is Outcome.REPORTED
    told = desk.reports(study_id)[0].provenance["priors"]
    assert told["used"] == []
    assert "archive: the source of priors cannot be reached" in told["notes"][0]

    clinic.store(image(CURRENT, day="20260301"))
    clinic.complete("archive", "wait")
    assert make_workflow(priors=clinic.finder).run(study_id) is Outcome.RETRY
    assert "the source of priors cannot be reached" in (desk.study(study_id).state_reason or "")
    assert len(scripted_decoder.asked) == 1


def test_the_model_sees_priors_before_the_study(
    clinic: Clinic, make_workflow: MakeWorkflow, desk: StudyDesk, scripted_decoder: ScriptedDecoder
) -> None:
    """Each under its distance in days: a date would be the patient's."""
    clinic.store(image(f"{CURRENT}.1", day="20260101"))
    study_id = clinic.complete()
    assert make_workflow(priors=clinic.finder).run(study_id) is Outcome.REPORTED
    (request,) = scripted_decoder.asked
    parts = request.messages[0].parts
    assert [part.text or f"media {part.media}" for part in parts] == [
        "Prior study, 59 days before:",
        "media 0",
        "Current study:",
        "media 1",
        "Compare.",
    ]
    digests = [medium.objects[0].digest for medium in request.media]
    with clinic.database.reading() as session:
        held = [Studies(session).instances(clinic.study(uid).id)[0].digest for uid in (f"{CURRENT}.1", CURRENT)]
    assert digests == held
    assert len(desk.reports(study_id)[0].provenance["priors"]["used"]) == 1


@pytest.mark.parametrize("patient", ["P*", "P?", "P\\1", ""])
def test_a_patient_id_that_would_find_others_is_not_asked_for(clinic: Clinic, patient: str) -> None:
    """Wildcards in an id are not for the PACS to read; without an id there is nobody to ask for."""
    clinic.complete()
    with clinic.database.session() as session:
        Studies(session).get("acme", CURRENT).patient_id = patient
    assert clinic.find().notes == ["the study has no date, or no patient id that is safe to ask for"]


def test_a_peer_that_the_file_names_no_more(clinic: Clinic) -> None:
    """A study remembers its rule; the peers are those of the file now."""
    clinic.complete("archive")
    assert clinic.find().notes == ["archive: no such peer any more"]
