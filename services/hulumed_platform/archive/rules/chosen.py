"""The rule that a study goes by, as it is kept beside the study: later rules change nothing for it."""

from dataclasses import dataclass
from typing import Any

from hulumed_platform.archive.rules.schema import Rule


@dataclass(frozen=True, slots=True)
class ChosenRule:
    """A rule, and the digest of the rules that it was one of."""

    rule: Rule
    digest: str

    def to_json(self) -> dict[str, Any]:
        """For a column of type JSON."""
        return {"digest": self.digest, "rule": self.rule.model_dump(mode="json")}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "ChosenRule":
        """What `to_json` gave."""
        return cls(Rule.model_validate(value["rule"]), value["digest"])
