"""Looks at open studies, decides by the rules which are complete, and writes what was decided and why."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from hulumed_platform.archive.completion import Code, Decision, Reason, SeriesTimes, StudyTimes, Verdict, decide
from hulumed_platform.archive.rules.chosen import ChosenRule
from hulumed_platform.archive.rules.facts import StudyFacts
from hulumed_platform.archive.rules.known import stored_facts
from hulumed_platform.archive.rules.load import RuleSet
from hulumed_platform.archive.rules.match import first_match, missing_series
from hulumed_platform.archive.rules.reload import LiveRules
from hulumed_platform.archive.rules.schema import Rule
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import Series, Study, StudyState
from hulumed_platform.storage.receiving import Look, Receiving
from hulumed_platform.worker import metrics

log = logging.getLogger(__name__)

_BATCH = 200
_MAX_BATCHES = 10


class Completing:
    """Completes studies by rules that may change meanwhile. Every worker does so; SQL lets one of them through."""

    def __init__(self, database: Database, rules: LiveRules) -> None:
        self._database = database
        self._rules = rules
        self._seen_digest: str | None = None

    def look(self, now: datetime) -> None:
        """Look at the rules file, then at every study whose time has come.

        Raises:
            PlatformError: UNAVAILABLE when the database cannot be reached; what was written stays written.
        """
        rules = self._rules.refresh()
        metrics.RULES_BROKEN.set(self._rules.broken)
        if rules.digest != self._seen_digest:
            self._reconsider(rules, now)
        for _ in range(_MAX_BATCHES):
            if self._look_at_some(rules, now) < _BATCH:
                return

    def _reconsider(self, rules: RuleSet, now: datetime) -> None:
        """Once for each new digest, not at every look: workers with old and new rules must not undo each other."""
        with self._database.session() as session:
            count = Receiving(session).reconsider(rules.digest, now)
        self._seen_digest = rules.digest
        if count:
            log.info("unmatched studies reconsidered", extra={"studies": count, "digest": rules.digest})

    def _look_at_some(self, rules: RuleSet, now: datetime) -> int:
        """Read and decide beside other writers, then write in one short transaction; return how many were seen."""
        with self._database.reading() as session:
            looks = _decide(session, rules, now)
        if looks:
            with self._database.session() as session:
                written = [(study, look) for study, look in looks if Receiving(session).write(study, look, now)]
            for study, look in written:
                _tell(study, look)
        return len(looks)


def _decide(session: Session, rules: RuleSet, now: datetime) -> list[tuple[Study, Look]]:
    receiving = Receiving(session)
    studies = receiving.to_look_at(now, limit=_BATCH)
    series = receiving.series([study.id for study in studies])
    return [(study, _look(study, series[study.id], rules, receiving, now)) for study in studies]


def _look(study: Study, series: Sequence[Series], rules: RuleSet, receiving: Receiving, now: datetime) -> Look:
    facts = stored_facts(study, series, _instances(series, rules, receiving))
    rule = first_match(rules, facts)
    return look_of(_times(study, series), facts, rule, rules, now)


def _instances(
    series: Sequence[Series], rules: RuleSet, receiving: Receiving
) -> Mapping[str, Sequence[Mapping[str, Any]]] | None:
    return receiving.instance_attributes([one.id for one in series]) if rules.needs_instances else None


def _times(study: Study, series: Sequence[Series]) -> StudyTimes:
    return StudyTimes(
        study.opened_at,
        study.last_received_at,
        [SeriesTimes(one.series_instance_uid, one.last_received_at) for one in series],
        study.ended_by,
    )


def look_of(times: StudyTimes, facts: StudyFacts, rule: Rule | None, rules: RuleSet, now: datetime) -> Look:
    """What is to be written of a study that goes by a rule, or by none."""
    completion = rules.completion if rule is None else rule.completion
    decision = decide(times, completion, missing_series(completion, facts), now)
    if decision.verdict is Verdict.OPEN:
        return _written(StudyState.RECEIVING, decision, rules)
    if rule is None:
        reason = Reason(Code.UNMATCHED, now, details=tuple(each.name for each in rules.rules))
        return _written(StudyState.UNMATCHED, Decision(Verdict.COMPLETE, reason), rules)
    failed = decision.verdict is Verdict.FAIL
    return Look(
        state=StudyState.FAILED if failed else StudyState.COMPLETE,
        state_reason=decision.reason.sentence(now) if failed else None,
        completion=decision.reason.to_json(),
        rules_digest=rules.digest,
        rule=ChosenRule(rule, rules.digest).to_json(),
        priority=rule.priority,
    )


def _written(state: StudyState, decision: Decision, rules: RuleSet) -> Look:
    return Look(state=state, completion=decision.reason.to_json(), rules_digest=rules.digest, look_at=decision.look_at)


def _tell(study: Study, look: Look) -> None:
    if look.state is StudyState.RECEIVING:
        return
    code = look.completion["code"]
    metrics.STUDIES_OVER.labels(look.state.value, code).inc()
    rule = look.rule["rule"]["name"] if look.rule else None
    log.info("study is over", extra={"study": study.id, "state": look.state.value, "reason": code, "rule": rule})
