"""Studies that are still open: which of them to look at now, and what a look changes.

A look is made of three steps: read, decide, write. What is written counts only where the study is as it was read, so
that an image, or the word of a sender, that came in between is never overlooked; the study is then looked at again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from hulumed_platform.storage.models import Instance, Series, Study, StudyState


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What came of a look, to be written: the new state with its reason, and the rule that it goes by, if any.

    `completion` and `rule` are JSON of the caller; `look_at` is when to look again, None = not before something comes.
    """

    state: StudyState
    completion: dict[str, Any]
    rules_digest: str
    look_at: datetime | None = None
    rule: dict[str, Any] | None = None
    priority: int = 0
    state_reason: str | None = None


class Receiving:
    """The open studies of all tenants, in a transaction of the caller."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def to_look_at(self, now: datetime, *, limit: int) -> Sequence[Study]:
        """Return open studies whose time to be looked at has come, those that wait longest first."""
        return self._session.scalars(
            select(Study)
            .where(Study.state == StudyState.RECEIVING, Study.look_at <= now)
            .order_by(Study.look_at, Study.id)
            .limit(limit)
        ).all()

    def series(self, study_ids: Sequence[str]) -> Mapping[str, Sequence[Series]]:
        """Return the series of studies, by the studies' ids."""
        found: dict[str, list[Series]] = {study_id: [] for study_id in study_ids}
        query = select(Series).where(Series.study_id.in_(study_ids)).order_by(Series.series_instance_uid)
        for series in self._session.scalars(query):
            found[series.study_id].append(series)
        return found

    def instance_attributes(self, series_ids: Sequence[str]) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Return what is remembered of every instance of some series, by the series' ids."""
        found: dict[str, list[Mapping[str, Any]]] = {series_id: [] for series_id in series_ids}
        query = select(Instance.series_id, Instance.attributes).where(Instance.series_id.in_(series_ids))
        for series_id, attributes in self._session.execute(query):
            found[series_id].append(attributes or {})
        return found

    def write(self, study: Study, look: Look, now: datetime) -> bool:
        """Write what came of a look; False where the study is no longer as it was read."""
        values = {
            "state": look.state,
            "state_reason": look.state_reason,
            "completion": look.completion,
            "rule": look.rule,
            "rules_digest": look.rules_digest,
            "priority": look.priority,
            "look_at": look.look_at,
        }
        if look.state is not StudyState.RECEIVING:
            values["updated_at"] = now
        written = self._session.scalars(
            update(Study)
            .where(
                Study.id == study.id,
                Study.state == StudyState.RECEIVING,
                Study.revision == study.revision,
                Study.ended_by.is_not_distinct_from(study.ended_by),
            )
            .values(**values)
            .returning(Study.id),
            execution_options={"synchronize_session": False},
        )
        return written.first() is not None

    def reconsider(self, rules_digest: str, now: datetime) -> int:
        """Open every study again that other rules had nothing for; return how many."""
        reopened = self._session.scalars(
            update(Study)
            .where(
                Study.state == StudyState.UNMATCHED,
                Study.rules_digest.is_distinct_from(rules_digest),
            )
            .values(state=StudyState.RECEIVING, look_at=now, updated_at=now)
            .returning(Study.id),
            execution_options={"synchronize_session": False},
        )
        return len(reopened.all())
