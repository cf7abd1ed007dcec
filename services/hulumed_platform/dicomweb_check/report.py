"""What a run found, for people and for programs."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hulumed_platform.dicomweb_check.runner import Outcome, Result
from hulumed_platform.dicomweb_check.suite import Check

_STYLES = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.WARN: "yellow", Outcome.SKIPPED: "dim"}


def as_json(url: str, results: list[Result], patient_id: str, studies_left: int) -> dict[str, Any]:
    """The report as one JSON object."""
    return {
        "url": url,
        "passed": passed(results),
        "counts": counts(results),
        "patient_id": patient_id,
        "studies_left": studies_left,
        "checks": [asdict(result) for result in results],
    }


def as_table(results: list[Result]) -> RenderableType:
    """A line a check; what failed or warned has what was sent, expected and got under it. Then what was skipped."""
    table = Table("", "check", "section", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    skipped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for result in results:
        if result.outcome is Outcome.SKIPPED:
            skipped[result.service, result.got].append(result.name)
        else:
            style = _STYLES[result.outcome]
            table.add_row(Text(result.outcome, style), Text.assemble(result.name, *_details(result)), result.section)
    lines = [_skipped(names, service, why) for (service, why), names in skipped.items()]
    counted = ", ".join(f"{count} {outcome}" for outcome, count in counts(results).items())
    return Group(table, *lines, Text(f"\n{counted}"))


def catalogue_table(checks: Iterable[Check]) -> RenderableType:
    """What there is to check."""
    table = Table("check", "service", "section", "sent", "expected", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for check in checks:
        table.add_row(check.name, check.service, check.section, check.sent, check.expected)
    return table


def passed(results: Iterable[Result]) -> bool:
    """Whether nothing failed; warnings and what was skipped do not fail a run."""
    return all(result.outcome is not Outcome.FAIL for result in results)


def counts(results: Iterable[Result]) -> dict[str, int]:
    """How many ended how."""
    counted = Counter(result.outcome for result in results)
    return {outcome.value: counted[outcome] for outcome in Outcome}


def _details(result: Result) -> Iterator[tuple[str, str]]:
    if result.outcome is not Outcome.PASS:
        yield f"\n  sent:     {result.sent}\n  expected: {result.expected}", "dim"
        yield f"\n  got:      {_printable(result.got)}", ""


def _skipped(names: list[str], service: str, why: str) -> Text:
    what = names[0] if len(names) == 1 else f"{len(names)} checks of {service}"
    return Text(f"skipped  {what}: {_printable(why)}", _STYLES[Outcome.SKIPPED])


def _printable(text: str) -> str:
    """What a server says must not rewrite the terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
