"""A completed workitem tells that its input is whole: the study need not wait for silence."""

import logging
from dataclasses import dataclass

import pytest

from hulumed_platform.storage.models import Study, StudyState
from hulumed_platform.storage.studies import Studies
from tests.gateway.test_commitment import stored
from tests.support.worklist import WorklistDesk, element


@dataclass(frozen=True)
class _Inputs:
    studies: tuple[str, ...]

    def of_workitem(self) -> dict[str, object]:
        return element("SQ", *({"0020000D": element("UI", study)} for study in self.studies))


def study_of(desk: WorklistDesk, uid: str) -> Study:
    with desk.door.database.reading() as session:
        return Studies(session).get(desk.door.settings.tenant, uid)


def test_the_input_of_a_completed_workitem_is_ended(desk: WorklistDesk) -> None:
    """The word is noted for each study that is named and known, not when canceled; the worker acts on it."""
    first, second, other = (stored(desk)[0] for _ in range(3))
    uid = desk.create(t00404021=_Inputs((first, second, "1.2.3.4.5", first)).of_workitem())
    canceled = desk.create(t00404021=_Inputs((other,)).of_workitem())
    transaction = desk.claim(uid)
    assert study_of(desk, first).ended_by is None
    desk.complete(uid, transaction)
    desk.change(canceled, "CANCELED", desk.claim(canceled))
    reason = "a workitem that has the study as its input was completed"
    assert [study_of(desk, study).ended_by for study in (first, second, other)] == [reason, reason, None]


def test_a_failure_of_what_follows_does_not_undo_the_change(
    desk: WorklistDesk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """dcm4chee #3782: a failing rule made 500 of a workitem that was COMPLETED. The cause is in the log."""

    def broken(*_: object) -> bool:
        raise RuntimeError("the rule is broken")

    study = stored(desk)[0]
    uid = desk.create(t00404021=_Inputs((study,)).of_workitem())
    transaction = desk.claim(uid)
    monkeypatch.setattr("hulumed_platform.gateway.ups.end_explicitly", broken)
    with caplog.at_level(logging.ERROR):
        desk.complete(uid, transaction)
    assert desk.state(uid) == "COMPLETED"
    assert any(record.exc_info for record in caplog.records)
    assert study_of(desk, study).state is StudyState.RECEIVING
