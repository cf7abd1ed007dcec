"""Any order of senders, sweepers and workers, some of them dead: the promises of the workflow hold."""

import tempfile
from datetime import datetime
from itertools import count
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, invariant, multiple, rule

from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import StudyState
from hulumed_platform.storage.records import Claim
from hulumed_platform.storage.reports import Reports
from hulumed_platform.storage.studies import Studies
from hulumed_platform.storage.workflow import Workflow
from tests.storage.rows import STUDY_UID, after, instance, report
from tests.support.completing import complete_quiet

LEASE_S = PICKUP_S = QUIET_S = 10


class StudyMachine(RuleBasedStateMachine):
    """One study, a clock, and claims that may be used long after they were lost."""

    claims: Bundle[Claim] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(f"sqlite:///{Path(self.folder.name) / 'platform.sqlite'}")
        self.database.migrate()
        self.seconds = 0.0
        self.numbers = count(1)
        self.given: list[Claim] = []
        self.reported: list[int] = []
        self.post()
        with self.database.reading() as session:
            self.study_id = Studies(session).get("acme", STUDY_UID).id

    @property
    def now(self) -> datetime:
        return after(self.seconds)

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()

    @rule(seconds=st.floats(0, 25))
    def wait(self, seconds: float) -> None:
        self.seconds += seconds

    @rule()
    def post(self) -> None:
        with self.database.session() as session:
            Studies(session).register(instance(next(self.numbers), received_at=self.now))

    @rule()
    def sweep(self) -> None:
        with self.database.session() as session:
            workflow = Workflow(session)
            complete_quiet(session, self.now, quiet_s=QUIET_S)
            for study_id in workflow.due(self.now, pickup_s=PICKUP_S):
                assert workflow.mark_queued(study_id, self.now, pickup_s=PICKUP_S)
            assert workflow.due(self.now, pickup_s=PICKUP_S) == []

    @rule(target=claims, owner=st.sampled_from(["worker-1", "worker-2"]))
    def claim(self, owner: str) -> Claim | MultipleResults[Claim]:
        with self.database.session() as session:
            claim = Workflow(session).claim(self.study_id, owner, self.now, LEASE_S)
        if claim is None:
            return multiple()
        assert (claim.revision, claim.attempt) not in [(c.revision, c.attempt) for c in self.given]
        self.given.append(claim)
        return claim

    @rule(claim=claims)
    def finish(self, claim: Claim) -> None:
        with self.database.session() as session:
            if Workflow(session).finish(claim, report(created_at=self.now)):
                assert claim == self.given[-1], "only the last one who was given the study may report on it"
                self.reported.append(claim.revision)

    @rule(claim=claims, retry_s=st.none() | st.floats(0, 20))
    def fail(self, claim: Claim, retry_s: float | None) -> None:
        retry_at = None if retry_s is None else after(self.seconds + retry_s)
        with self.database.session() as session:
            if Workflow(session).fail(claim, "reason", self.now, retry_at=retry_at):
                assert claim == self.given[-1]

    @rule(claim=claims)
    def renew_or_release(self, claim: Claim) -> None:
        with self.database.session() as session:
            if Workflow(session).renew(claim, self.now, LEASE_S):
                assert claim == self.given[-1]
                assert Workflow(session).release(claim, self.now)

    @invariant()
    def a_revision_has_one_report(self) -> None:
        with self.database.reading() as session:
            revisions = [r.revision for r in Reports(session).history(self.study_id)]
        assert revisions == sorted(set(self.reported), reverse=True)
        assert len(revisions) == len(self.reported)

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """Without another word from anyone, time alone makes every unfinished study due."""
        with self.database.session() as session:
            study = Studies(session).by_id(self.study_id)
            done = study.state is StudyState.REPORTED or (
                study.state is StudyState.FAILED and study.next_retry_at is None
            )
            workflow, later = Workflow(session), after(self.seconds + 1000)
            complete_quiet(session, later, quiet_s=QUIET_S)
            assert bool(workflow.due(later, pickup_s=PICKUP_S)) is not done
            session.rollback()


TestStudyMachine = StudyMachine.TestCase
TestStudyMachine.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
