"""Checks and their registry: every module of a service fills one suite."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.service import Service

Run = Callable[[Bench], str]
"""Returns what came back, or raises a VerdictError with it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule: its name, where it stands, what is sent and what must come back."""

    name: str
    service: Service
    section: str
    """Of the DICOM standard, or of the RFC it builds on."""
    sent: str
    expected: str
    run: Run
    writes: bool
    """Whether the check stores something on the server."""


class Suite:
    """The checks of one service, in the order of their definition."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._checks: list[Check] = []

    def check(self, name: str, section: str, *, sent: str, expected: str, writes: bool = True) -> Callable[[Run], Run]:
        """Register the decorated function as a check."""

        def register(run: Run) -> Run:
            self._checks.append(Check(name, self._service, section, sent, expected, run, writes))
            return run

        return register

    def __iter__(self) -> Iterator[Check]:
        return iter(self._checks)
