"""docs/rules.md: its example is a rules file, and it names what expressions may name, no more and no less."""

import re
from pathlib import Path

from hulumed_platform.archive.rules.load import parse_rules
from hulumed_platform.archive.rules.names import KINDS
from hulumed_platform.archive.rules.schema import Completion, Priors, Rule

PAGE = (Path(__file__).parents[3] / "docs" / "rules.md").read_text()


def first_columns(heading: str) -> set[str]:
    section = PAGE.split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_the_example_is_a_rules_file() -> None:
    """Who copies it starts from something that works."""
    example = PAGE.split("```yaml\n", 1)[1].split("```", 1)[0]
    assert [rule.name for rule in parse_rules(example.encode()).rules] == ["chest-ct", "everything-else"]


def test_every_name_is_listed() -> None:
    """A keyword that is remembered from now on is one to tell."""
    lines = [line for line in PAGE.splitlines() if re.match(r"\| (study|series|instance|counted|how it came) \|", line)]
    listed = {name for line in lines for name in re.findall(r"`(\w+)`", line.split("|")[2])}
    assert listed == set(KINDS)


def test_every_key_is_listed() -> None:
    """The tables are the schema."""
    assert first_columns("A rule") == set(Rule.model_fields)
    assert first_columns("When a study is complete") == set(Completion.model_fields)
    assert first_columns("Priors") == set(Priors.model_fields)
