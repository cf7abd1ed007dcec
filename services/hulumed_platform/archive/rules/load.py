"""A rules file, read and checked: every fault of it with its line."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from hulumed_platform.archive.rules.names import INSTANCE_NAMES
from hulumed_platform.archive.rules.schema import LOCAL, Completion, Peer, Rule, RulesDocument

_MAX_BYTES = 1024 * 1024
_FOR_EVER = "required_series needs force_s, else a study may wait for ever"

Location = tuple[int | str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What is wrong, and in which line (from 1)."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class RulesError(Exception):
    """A rules file that cannot be used; `faults` are in order of lines."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules in their order, and the digest of the file that they came from: `sha256:` and 64 hex digits."""

    digest: str
    rules: tuple[Rule, ...]
    completion: Completion
    """For a study that no rule matches yet."""
    peers: Mapping[str, Peer]

    @property
    def needs_instances(self) -> bool:
        """Whether an expression that decides on completion speaks of what only the instances know."""
        expressions = [each for rule in self.rules for each in (rule.when, *rule.completion.required_series)]
        return any(expression.names & INSTANCE_NAMES for expression in expressions)


def read_rules(path: Path) -> RuleSet:
    """Read a file of rules.

    Raises:
        RulesError: It cannot be read, or has faults.
    """
    return parse_rules(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a rules file, not more than one may have.

    Raises:
        RulesError: It cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise RulesError([Fault(1, f"the file cannot be read: {error.strerror}")]) from None
    if len(content) > _MAX_BYTES:
        raise RulesError([Fault(1, "the file is larger than 1 MiB")])
    return content


def parse_rules(content: bytes) -> RuleSet:
    """Read the bytes of a rules file (YAML 1.1, UTF-8).

    Raises:
        RulesError: All the faults, or the first one where it is no YAML.
    """
    root = _compose(content)
    faults: list[Fault] = []
    data = _plain(root, faults)
    if faults:
        raise RulesError(sorted(faults))
    try:
        document = RulesDocument.model_validate(data)
    except ValidationError as error:
        raise RulesError(_validation_faults(root, error)) from None
    if faults := list(_cross_faults(root, document)):
        raise RulesError(sorted(faults))
    return rule_set(content, document)


def rule_set(content: bytes, document: RulesDocument) -> RuleSet:
    """The rules of a document, under the digest of what it was read from."""
    rules = (rule.model_copy(update={"completion": document.completion_of(rule)}) for rule in document.rules)
    return RuleSet(digest_of(content), tuple(rules), document.completion, document.peers)


def digest_of(content: bytes) -> str:
    """The digest under which rules are known."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _compose(content: bytes) -> yaml.Node:
    try:
        text = content.decode("utf-8")
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise RulesError([Fault(event.start_mark.line + 1, "aliases (*name) are not read; write it out")])
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise RulesError([Fault(line, "the file is not UTF-8")]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise RulesError([Fault(mark.line + 1 if mark else 1, f"no YAML: {error.problem or error.context}")]) from None
    except (yaml.YAMLError, RecursionError):
        raise RulesError([Fault(1, "no YAML: a character that is not allowed, or nested too deeply")]) from None
    if root is None:
        raise RulesError([Fault(1, "the file is empty; it needs rules")])
    return root


def _plain(node: yaml.Node, faults: list[Fault]) -> Any:
    """The values of a node; notes keys that are given twice, of which YAML would keep the last."""
    if isinstance(node, yaml.MappingNode):
        keys = Counter(str(key.value) for key, _ in node.value)
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                faults.append(Fault(key.start_mark.line + 1, "a key must be a word"))
            elif keys[key.value] > 1:
                faults.append(Fault(key.start_mark.line + 1, f"{key.value} is given more than once"))
        return {str(key.value): _plain(value, faults) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, faults) for item in node.value]
    try:
        return yaml.constructor.SafeConstructor().construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError):
        faults.append(Fault(node.start_mark.line + 1, "this value is not understood; put text in quotes"))
        return None


def _validation_faults(root: yaml.Node, error: ValidationError) -> list[Fault]:
    found = {
        Fault(_line(root, item["loc"]), _in_words(item["loc"], item["type"], item["msg"])) for item in error.errors()
    }
    return sorted(found)


def _in_words(location: Location, kind: str, message: str) -> str:
    where = ".".join(f"{part + 1}" if isinstance(part, int) else part for part in location) or "the file"
    if kind == "extra_forbidden":
        return f"{where}: there is no such key"
    return f"{where}: {message.removeprefix('Value error, ')}"


def _cross_faults(root: yaml.Node, document: RulesDocument) -> Iterator[Fault]:
    """What one rule alone cannot know."""
    if not document.rules:
        yield Fault(_line(root, ("rules",)), "rules: at least one rule is needed")
    if _waits_for_ever(document.completion):
        yield Fault(_line(root, ("completion",)), f"completion: {_FOR_EVER}")
    names = Counter(rule.name for rule in document.rules)
    for number, rule in enumerate(document.rules):
        if names[rule.name] > 1:
            line = _line(root, ("rules", number, "name"))
            yield Fault(line, f"rules.{number + 1}.name: two rules are named {rule.name}")
        if rule.completion.model_fields_set and _waits_for_ever(document.completion_of(rule)):
            line = _line(root, ("rules", number, "completion"))
            yield Fault(line, f"rules.{number + 1}.completion: {_FOR_EVER}")
        if rule.priors and rule.priors.source not in (LOCAL, *document.peers):
            line = _line(root, ("rules", number, "priors", "source"))
            yield Fault(line, f"rules.{number + 1}.priors.source: peers names no {rule.priors.source}")


def _waits_for_ever(completion: Completion) -> bool:
    return bool(completion.required_series) and completion.force_s is None


def _line(root: yaml.Node, location: Location) -> int:
    """The line of the deepest node on the way to a location."""
    node, line = root, root.start_mark.line
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
            if found is None:
                break
            line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return int(line) + 1
