"""The one rule that holds where no rules file is given: every study, all its series, one prompt."""

from hulumed_platform.archive.rules.expression import parse
from hulumed_platform.archive.rules.load import RuleSet, rule_set
from hulumed_platform.archive.rules.schema import Completion, Prompt, Rule, RulesDocument

NAME = "built-in"


def builtin_rules(prompt: Prompt, *, quiet_s: float) -> RuleSet:
    """Every study is complete when no image has come for `quiet_s`, and is asked `prompt`."""
    completion = Completion(series_quiet_s=quiet_s, study_quiet_s=quiet_s, force_s=None)
    rule = Rule(name=NAME, when=parse("True"), prompt=prompt, completion=completion)
    document = RulesDocument(completion=completion, rules=(rule,))
    return rule_set(document.model_dump_json().encode(), document)
