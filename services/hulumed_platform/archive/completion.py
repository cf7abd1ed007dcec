"""When a study is complete: one decision for every door, made of times alone. Reads no clock and no database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hulumed_platform.archive.rules.schema import Completion, OnForce
from hulumed_platform.storage.endings import WHOLE_STUDY_STOW


@dataclass(frozen=True, slots=True)
class SeriesTimes:
    """When the last image of a series came."""

    series_instance_uid: str
    last_received_at: datetime


@dataclass(frozen=True, slots=True)
class StudyTimes:
    """When images came, since the study was opened (again), and whether someone said that it is over."""

    opened_at: datetime
    last_received_at: datetime
    series: Sequence[SeriesTimes]
    ended_by: str | None = None


class Verdict(StrEnum):
    """What is to become of a study now."""

    OPEN = "open"
    COMPLETE = "complete"
    FAIL = "fail"


class Code(StrEnum):
    """Why a study is where it is."""

    SERIES_OPEN = "series_open"
    STUDY_OPEN = "study_open"
    REQUIRED_SERIES = "required_series"
    QUIET = "quiet"
    FORCED = "forced"
    ENDED = "ended"
    UNMATCHED = "unmatched"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why, in a form that is stored; `sentence` says it as of now. Holds UIDs and texts of rules, no patient data."""

    code: Code
    since: datetime
    limit_s: float | None = None
    """How long after `since` it may last; None = without end."""
    series_instance_uid: str | None = None
    details: tuple[str, ...] = ()
    """Required series that are missing, or rules that do not match."""
    ended_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        """For a column of type JSON."""
        return {
            "code": self.code.value,
            "since": self.since.isoformat(),
            "limit_s": self.limit_s,
            "series_instance_uid": self.series_instance_uid,
            "details": list(self.details),
            "ended_by": self.ended_by,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Reason":
        """What `to_json` gave."""
        return cls(
            code=Code(value["code"]),
            since=datetime.fromisoformat(value["since"]),
            limit_s=value["limit_s"],
            series_instance_uid=value["series_instance_uid"],
            details=tuple(value["details"]),
            ended_by=value["ended_by"],
        )

    def sentence(self, now: datetime) -> str:
        """Say it to a person."""
        ago = f"{max((now - self.since).total_seconds(), 0):.0f} s ago"
        limit = "none" if self.limit_s is None else f"{self.limit_s:g} s"
        listed = "; ".join(self.details)
        missing = f"; missing required series: {listed}" if self.details else ""
        sentences = {
            Code.SERIES_OPEN: f"series {self.series_instance_uid} received its last image {ago}; quiet time is {limit}",
            Code.STUDY_OPEN: f"the study received its last image {ago}; quiet time is {limit}",
            Code.REQUIRED_SERIES: f"waits for required series: {listed}; opened {ago}, force limit is {limit}",
            Code.QUIET: f"no image came for {limit}, and every required series is there",
            Code.FORCED: f"over by force, {limit} after it was opened{missing}",
            Code.ENDED: f"ended explicitly: {self.ended_by}{missing}",
            Code.UNMATCHED: f"no rule matches, so it goes nowhere; there are: {listed}",
        }
        return sentences[self.code]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, why, and when to look again if nothing happens; None = never."""

    verdict: Verdict
    reason: Reason
    look_at: datetime | None = None


def decide(times: StudyTimes, rule: Completion, missing: Sequence[str], now: datetime) -> Decision:
    """Decide on a study that is receiving.

    Args:
        times: of the study; without series it is open until its study quiet time has passed.
        rule: quiet times and limits of the rule that it goes by.
        missing: required series that are not there yet.
        now: the clock; times may lie ahead of it where clocks differ.
    """
    if times.ended_by is not None and (times.ended_by != WHOLE_STUDY_STOW or rule.end_on_study_stow):
        return _over(Reason(Code.ENDED, now, details=tuple(missing), ended_by=times.ended_by), rule)
    forced_at = None if rule.force_s is None else times.opened_at + timedelta(seconds=rule.force_s)
    if forced_at is not None and now >= forced_at:
        return _over(Reason(Code.FORCED, times.opened_at, rule.force_s, details=tuple(missing)), rule)
    quiet_at, waiting = _quiet(times, rule)
    if now < quiet_at:
        return Decision(Verdict.OPEN, waiting, quiet_at if forced_at is None else min(quiet_at, forced_at))
    if missing:
        reason = Reason(Code.REQUIRED_SERIES, times.opened_at, rule.force_s, details=tuple(missing))
        return Decision(Verdict.OPEN, reason, forced_at)
    quiet_s = max(rule.series_quiet_s, rule.study_quiet_s)
    return Decision(Verdict.COMPLETE, Reason(Code.QUIET, times.last_received_at, quiet_s))


def _quiet(times: StudyTimes, rule: Completion) -> tuple[datetime, Reason]:
    """When the last of study and series is quiet, and which one that is."""
    found = [_until(Reason(Code.STUDY_OPEN, times.last_received_at, rule.study_quiet_s), rule.study_quiet_s)]
    for one in times.series:
        reason = Reason(Code.SERIES_OPEN, one.last_received_at, rule.series_quiet_s, one.series_instance_uid)
        found.append(_until(reason, rule.series_quiet_s))
    latest = max(at for at, _ in found)
    return latest, next(reason for at, reason in reversed(found) if at == latest)


def _until(reason: Reason, quiet_s: float) -> tuple[datetime, Reason]:
    return reason.since + timedelta(seconds=quiet_s), reason


def _over(reason: Reason, rule: Completion) -> Decision:
    failed = bool(reason.details) and rule.on_force is OnForce.FAIL
    return Decision(Verdict.FAIL if failed else Verdict.COMPLETE, reason)
