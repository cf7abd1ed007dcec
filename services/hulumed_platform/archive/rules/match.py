"""Which rule a study goes by, and why it does not go by the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from hulumed_platform.archive.rules.facts import SeriesFacts, StudyFacts
from hulumed_platform.archive.rules.load import RuleSet
from hulumed_platform.archive.rules.schema import Completion, Rule


def first_match(rules: RuleSet, study: StudyFacts) -> Rule | None:
    """The first rule that is for the study."""
    return next((rule for rule in rules.rules if rule.when.holds(study)), None)


def chosen_series(rule: Rule, study: StudyFacts) -> list[SeriesFacts]:
    """The series that the rule gives to the model."""
    return [series for series in study.series if rule.series.holds(series)]


def missing_series(completion: Completion, study: StudyFacts) -> tuple[str, ...]:
    """The required series that no series of the study is, as they are written."""
    return tuple(
        wanted.source
        for wanted in completion.required_series
        if not any(wanted.holds(series) for series in study.series)
    )


@dataclass(frozen=True, slots=True)
class Passed:
    """A rule that is not for a study, and why."""

    name: str
    reasons: Sequence[str]


def passed_rules(rules: RuleSet, study: StudyFacts) -> list[Passed]:
    """The rules before the first that matches. Reasons hold values of the study: they are for who asked only."""
    passed = []
    for rule in rules.rules:
        if rule.when.holds(study):
            break
        passed.append(Passed(rule.name, rule.when.why_not(study)))
    return passed
