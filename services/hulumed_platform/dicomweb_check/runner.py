"""Runs checks one after the other, within a time limit, and says how each ended."""

import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.service import Service
from hulumed_platform.dicomweb_check.suite import Check
from hulumed_platform.dicomweb_check.verdict import DeviationError, DoubtError, NotOfferedError, VerdictError

LIMIT_S = 900.0
"""For a whole run: a server that never answers would cost half a minute with each request."""


class Outcome(StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105  no password
    FAIL = "fail"
    WARN = "warn"
    SKIPPED = "skipped"


_OUTCOMES = {DeviationError: Outcome.FAIL, DoubtError: Outcome.WARN, NotOfferedError: Outcome.SKIPPED}


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one check."""

    name: str
    service: Service
    section: str
    outcome: Outcome
    sent: str
    expected: str
    got: str
    """What came back, or why it was not asked."""


def run(bench: Bench, checks: Iterable[Check], on_result: Callable[[Result], None] = lambda _: None) -> list[Result]:
    """Run the checks.

    Raises:
        DeviationError: the server does not answer at all.
    """
    missing = bench.missing
    deadline = time.monotonic() + LIMIT_S
    results: list[Result] = []
    for check in checks:
        why_not = _why_not(check, bench, missing)
        if not why_not and time.monotonic() > deadline:
            why_not = f"the run took more than {LIMIT_S:.0f} s; name fewer checks with --only"
        outcome, got = (Outcome.SKIPPED, why_not) if why_not else _run(check, bench)
        results.append(Result(check.name, check.service, check.section, outcome, check.sent, check.expected, got))
        on_result(results[-1])
    return results


def _why_not(check: Check, bench: Bench, missing: dict[Service, str]) -> str:
    if check.service in missing:
        return missing[check.service]
    return "it stores data; allow that with --yes-write" if check.writes and not bench.writes else ""


def _run(check: Check, bench: Bench) -> tuple[Outcome, str]:
    try:
        with warnings.catch_warnings():
            # Values of others are read as they come; what matters of them is for the check to say.
            warnings.simplefilter("ignore")
            return Outcome.PASS, check.run(bench)
    except VerdictError as verdict:
        return _OUTCOMES[type(verdict)], str(verdict)
    except Exception as error:  # noqa: BLE001  an answer of any shape must not end the run
        return Outcome.FAIL, f"the answer is not of the shape it must have: {type(error).__name__}: {error}"
