"""What every peer can do, whatever it speaks."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import BinaryIO, Protocol

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.records import check_uid


@dataclass(frozen=True, slots=True)
class StudyQuery:
    """Studies of one patient, from a day to another. Holds patient data: never log it."""

    patient_id: str = field(repr=False)
    issuer: str | None = field(repr=False)
    first: date = field(repr=False)
    last: date = field(repr=False)

    @property
    def date_range(self) -> str:
        """As a DICOM query has it (PS3.4, section C.2.2.2.5)."""
        return f"{self.first:%Y%m%d}-{self.last:%Y%m%d}"

    def fits(self, patient_id: str, issuer: str) -> bool:
        """Whether an answer is of the patient: peers match generously, and a stranger's images do harm."""
        return patient_id == self.patient_id and (not issuer or not self.issuer or issuer == self.issuer)


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """A study that a peer has; `num_instances` and `modalities` are None and empty where it does not say."""

    study_instance_uid: str
    study_date: date = field(repr=False)
    modalities: frozenset[str] = frozenset()
    num_instances: int | None = None


class Budget:
    """How long a fetch may take and how much it may bring; raises TOO_LARGE or DEADLINE once it is spent."""

    def __init__(self, *, timeout_s: float, max_bytes: int, max_instances: int) -> None:
        self._deadline = time.monotonic() + timeout_s
        self._bytes_left = max_bytes
        self._instances_left = max_instances

    def again(self, *, max_bytes: int, max_instances: int) -> "Budget":
        """The time that is left, with room for another study."""
        return Budget(timeout_s=self.left_s, max_bytes=max_bytes, max_instances=max_instances)

    @property
    def left_s(self) -> float:
        """Seconds that are left; more than none, as timeouts must be."""
        return max(self._deadline - time.monotonic(), 0.001)

    def check(self) -> None:
        """Raise DEADLINE when the time is over."""
        if time.monotonic() >= self._deadline:
            raise PlatformError(ErrorCode.DEADLINE, "fetching priors took longer than the rule allows")

    def take(self, size_bytes: int) -> None:
        """Account for one more instance."""
        self.check()
        self._bytes_left -= size_bytes
        self._instances_left -= 1
        if self._bytes_left < 0 or self._instances_left < 0:
            raise PlatformError(ErrorCode.TOO_LARGE, "the prior is larger than the rule allows")


Deliver = Callable[[BinaryIO], None]
"""Takes one instance as a DICOM file (PS3.10), read to its end."""


class Peer(Protocol):
    """Another archive.

    Every method raises `PlatformError`: UNAVAILABLE, retryable, when it does not answer, and not retryable when it
    answers that it cannot.
    """

    def studies(self, query: StudyQuery, budget: Budget) -> list[FoundStudy]:
        """The studies that fit, in any order."""

    def fetch(self, study_instance_uid: str, deliver: Deliver, budget: Budget) -> None:
        """Deliver every instance of a study; on return it is whole."""


def away(what: str, *, retryable: bool = True) -> PlatformError:
    """The error of a peer that does not do its part; `what` holds nothing of the patient."""
    return PlatformError(ErrorCode.UNAVAILABLE, f"the source of priors {what}", retryable=retryable)


def is_uid(text: str) -> bool:
    """Whether a peer's UID is one: it becomes part of addresses and of queries."""
    try:
        check_uid(text, "UID")
    except PlatformError:
        return False
    return True


def read_date(text: str) -> date | None:
    """A DICOM date (PS3.5, table 6.2-1); None for anything else."""
    try:
        return date.fromisoformat(f"{text[:4]}-{text[4:6]}-{text[6:8]}") if len(text) == 8 else None
    except ValueError:
        return None
