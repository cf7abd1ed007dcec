"""Rules for tests: from text, or the built-in one."""

import textwrap

from hulumed_platform.archive.rules.builtin import builtin_rules
from hulumed_platform.archive.rules.chosen import ChosenRule
from hulumed_platform.archive.rules.load import RuleSet, parse_rules
from hulumed_platform.archive.rules.reload import LiveRules
from hulumed_platform.archive.rules.schema import Prompt


def rules(text: str) -> RuleSet:
    """The rules of a file with this text, which may be indented."""
    return parse_rules(textwrap.dedent(text).encode())


def live(*, quiet_s: float) -> LiveRules:
    """The built-in rule with a quiet time."""
    return LiveRules(builtin_rules(Prompt(text="Report!"), quiet_s=quiet_s))


def builtin_rule(prompt: Prompt) -> ChosenRule:
    """The built-in rule with a prompt."""
    made = builtin_rules(prompt, quiet_s=0)
    return ChosenRule(made.rules[0], made.digest)
