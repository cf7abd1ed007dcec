"""What rules would do with a study: the dry run behind `hulumed rules test`. It tells values of the study."""

from collections.abc import Sequence
from dataclasses import dataclass

from hulumed_platform.archive.rules.facts import SeriesFacts, StudyFacts
from hulumed_platform.archive.rules.load import RuleSet
from hulumed_platform.archive.rules.match import Passed, chosen_series, first_match, missing_series, passed_rules
from hulumed_platform.archive.rules.schema import Completion, Rule


@dataclass(frozen=True, slots=True)
class Trial:
    """The rule that matches, if any, why those before it do not, and what follows."""

    rule: Rule | None
    passed: Sequence[Passed]
    chosen: Sequence[SeriesFacts]
    left_out: Sequence[tuple[SeriesFacts, Sequence[str]]]
    """Series that do not go to the model, each with the reasons."""
    completion: Completion
    missing: Sequence[str]
    """Required series that are not there."""


def try_rules(rules: RuleSet, study: StudyFacts) -> Trial:
    """Ask the rules; nothing is stored."""
    rule = first_match(rules, study)
    completion = rules.completion if rule is None else rule.completion
    chosen = [] if rule is None else chosen_series(rule, study)
    uids = {one.series_instance_uid for one in chosen}
    left_out = [] if rule is None else [one for one in study.series if one.series_instance_uid not in uids]
    return Trial(
        rule=rule,
        passed=passed_rules(rules, study),
        chosen=chosen,
        left_out=[(one, rule.series.why_not(one)) for one in left_out if rule is not None],
        completion=completion,
        missing=missing_series(completion, study),
    )
