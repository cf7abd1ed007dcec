"""When a study is complete: a decision from times alone, tested without waiting for anything."""

from datetime import datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hulumed_platform.archive.completion import Code, Decision, Reason, SeriesTimes, StudyTimes, Verdict, decide
from hulumed_platform.archive.rules.expression import parse
from hulumed_platform.archive.rules.schema import Completion, OnForce
from hulumed_platform.storage.endings import WHOLE_STUDY_STOW
from tests.storage.rows import NOON, after

RULE = Completion(series_quiet_s=60, study_quiet_s=100, force_s=1000)
WANTED = (parse("Modality == 'CT'"),)


def study(*last: float, opened: float = 0, ended_by: str | None = None) -> StudyTimes:
    """A study whose series got their last images so many seconds after noon."""
    series = [SeriesTimes(f"1.2.{number}", after(seconds)) for number, seconds in enumerate(last, start=1)]
    return StudyTimes(after(opened), after(max(last)), series, ended_by)


def look(times: StudyTimes, seconds: float, rule: Completion = RULE, missing: tuple[str, ...] = ()) -> Decision:
    return decide(times, rule, missing, after(seconds))


def test_quiet_studies_are_complete() -> None:
    """Both quiet times must pass; until then the next look is when they do."""
    assert look(study(0, 30), 129).verdict is Verdict.OPEN
    assert look(study(0, 30), 129).look_at == after(130)
    assert look(study(0, 30), 130).verdict is Verdict.COMPLETE


def test_an_open_series_keeps_its_study_open_and_is_named() -> None:
    """A slow series is waited for though the study's own quiet time is short."""
    rule = RULE.model_copy(update={"study_quiet_s": 5.0})
    found = look(study(0, 30), 42, rule)
    assert (found.verdict, found.look_at) == (Verdict.OPEN, after(90))
    assert found.reason.sentence(after(42)) == "series 1.2.2 received its last image 12 s ago; quiet time is 60 s"


def test_required_series_are_waited_for_until_the_limit() -> None:
    """Quiet is not enough; at the limit the rule says what becomes of it."""
    waiting = look(study(0), 500, missing=("Modality == 'CT'",))
    assert (waiting.verdict, waiting.look_at) == (Verdict.OPEN, after(1000))
    assert waiting.reason.sentence(after(500)).startswith(
        "waits for required series: Modality == 'CT'; opened 500 s ago"
    )
    forced = look(study(0), 1000, missing=("Modality == 'CT'",))
    assert (forced.verdict, forced.reason.code) == (Verdict.COMPLETE, Code.FORCED)
    failing = RULE.model_copy(update={"on_force": OnForce.FAIL})
    failed = look(study(0), 1000, failing, missing=("Modality == 'CT'",))
    assert failed.verdict is Verdict.FAIL
    assert failed.reason.sentence(after(1000)) == (
        "over by force, 1000 s after it was opened; missing required series: Modality == 'CT'"
    )
    assert look(study(0, 990), 1000, failing).verdict is Verdict.COMPLETE


def test_a_sender_may_end_a_study_at_once() -> None:
    """Its word counts more than open series; a whole-study STOW counts where the rule says so."""
    assert look(study(0, ended_by="UPS workitem"), 1).reason.sentence(after(1)) == "ended explicitly: UPS workitem"
    assert look(study(0, ended_by=WHOLE_STUDY_STOW), 1).verdict is Verdict.OPEN
    willing = RULE.model_copy(update={"end_on_study_stow": True})
    assert look(study(0, ended_by=WHOLE_STUDY_STOW), 1, willing).verdict is Verdict.COMPLETE
    failing = RULE.model_copy(update={"on_force": OnForce.FAIL})
    assert look(study(0, ended_by="UPS workitem"), 1, failing, missing=("X",)).verdict is Verdict.FAIL


seconds = st.floats(0, 2000)
rules = st.builds(
    Completion,
    series_quiet_s=st.floats(0, 300),
    study_quiet_s=st.floats(0, 300),
    force_s=st.none() | st.floats(1, 2000),
    on_force=st.sampled_from(OnForce),
    end_on_study_stow=st.booleans(),
)
studies = st.builds(
    lambda last, ended_by: study(*last, opened=min(last), ended_by=ended_by),
    st.lists(st.floats(0, 500), min_size=1, max_size=5),
    st.none() | st.sampled_from([WHOLE_STUDY_STOW, "UPS workitem"]),
)
missings = st.sampled_from([(), ("Modality == 'CT'",)])


def ended(times: StudyTimes, rule: Completion, now: datetime) -> bool:
    by_word = times.ended_by is not None and (times.ended_by != WHOLE_STUDY_STOW or rule.end_on_study_stow)
    return by_word or (rule.force_s is not None and now >= times.opened_at + timedelta(seconds=rule.force_s))


@given(studies, rules, missings, seconds, seconds)
def test_what_is_over_stays_over(
    times: StudyTimes, rule: Completion, missing: tuple[str, ...], first: float, later: float
) -> None:
    """Time alone never opens a study again, and a series that arrives never makes it wait longer for that series."""
    assume(first <= later)
    if look(times, first, rule, missing).verdict is not Verdict.OPEN:
        assert look(times, later, rule, missing).verdict is not Verdict.OPEN
        assert look(times, first, rule).verdict is Verdict.COMPLETE


@given(studies, rules, missings, seconds)
def test_no_study_closes_over_an_open_series(
    times: StudyTimes, rule: Completion, missing: tuple[str, ...], at: float
) -> None:
    """Unless it is forced or ended, every series is quiet and every required one is there."""
    now = after(at)
    if look(times, at, rule, missing).verdict is Verdict.OPEN or ended(times, rule, now):
        return
    assert not missing
    assert all(one.last_received_at + timedelta(seconds=rule.series_quiet_s) <= now for one in times.series)


@given(studies, rules, missings, seconds)
def test_the_limit_always_ends(times: StudyTimes, rule: Completion, missing: tuple[str, ...], at: float) -> None:
    """However busy or incomplete a study is."""
    if ended(times, rule, after(at)):
        assert look(times, at, rule, missing).verdict is not Verdict.OPEN


@given(studies, rules, missings, seconds)
def test_the_next_look_is_neither_early_nor_late(
    times: StudyTimes, rule: Completion, missing: tuple[str, ...], at: float
) -> None:
    """Just before it nothing changes, at it something does, and who waits for ever has no limit and misses a series."""
    found = look(times, at, rule, missing)
    if found.verdict is not Verdict.OPEN:
        assert found.look_at is None
        return
    if found.look_at is None:
        assert missing
        assert rule.force_s is None
        return
    assert found.look_at > after(at)
    early = decide(times, rule, missing, found.look_at - timedelta(microseconds=1))
    assert (early.verdict, early.look_at) == (Verdict.OPEN, found.look_at)
    due = decide(times, rule, missing, found.look_at)
    assert due.verdict is not Verdict.OPEN or due.look_at != found.look_at


@pytest.mark.parametrize("code", Code)
def test_every_reason_is_kept_and_said(code: Code) -> None:
    """What SQL keeps is the reason itself, and each has words."""
    reason = Reason(code, NOON, 60, "1.2.3", ("Modality == 'CT'",), "UPS workitem")
    assert Reason.from_json(reason.to_json()) == reason
    assert reason.sentence(after(5))


def test_a_clock_that_runs_ahead_says_nothing_odd() -> None:
    """An instance may come from a machine whose clock is ahead: never "-3 s ago"."""
    assert "0 s ago" in look(study(10), 5).reason.sentence(after(5))
