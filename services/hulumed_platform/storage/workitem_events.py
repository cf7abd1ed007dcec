"""Who is told of which workitem, and the event reports that wait to be told."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, exists, insert, literal, select
from sqlalchemy.orm import Session

from hulumed_platform.storage.inserts import insert_or_ignore
from hulumed_platform.storage.workitem_models import (
    Workitem,
    WorkitemEvent,
    WorkitemSubscription,
    WorklistSubscription,
)
from hulumed_platform.storage.workitem_search import Match, conditions

KEPT_FOR = timedelta(hours=24)
"""How long a report waits for a receiver that is away; the standard asks for no waiting at all."""


class Subscriptions:
    """The subscriptions of a tenant (PS3.4, section CC.2.3), in a transaction of the caller."""

    def __init__(self, session: Session, tenant: str) -> None:
        self._session = session
        self._tenant = tenant

    def to_workitem(self, workitem: Workitem, ae_title: str, *, deletion_lock: bool) -> None:
        """Subscribe to one workitem; a subscription that is there takes over the lock."""
        self.from_workitem(workitem, ae_title)
        self.keep_or_add(workitem, ae_title, deletion_lock=deletion_lock)

    def keep_or_add(self, workitem: Workitem, ae_title: str, *, deletion_lock: bool) -> bool:
        """Subscribe to one workitem unless there is a subscription: what was asked for one workitem goes first."""
        return insert_or_ignore(
            self._session,
            WorkitemSubscription,
            workitem_id=workitem.id,
            ae_title=ae_title,
            deletion_lock=deletion_lock,
        )

    def to_matching(self, matches: Iterable[Match], ae_title: str, *, deletion_lock: bool) -> None:
        """Subscribe to every workitem that matches and has no subscription of this receiver, in one statement."""
        has_one = exists().where(
            WorkitemSubscription.workitem_id == Workitem.id, WorkitemSubscription.ae_title == ae_title
        )
        dialect = self._session.get_bind().dialect.name
        chosen = select(Workitem.id, literal(ae_title), literal(deletion_lock)).where(
            Workitem.tenant == self._tenant, ~has_one, *conditions(matches, dialect)
        )
        columns = ["workitem_id", "ae_title", "deletion_lock"]
        self._session.execute(insert(WorkitemSubscription).from_select(columns, chosen))

    def from_workitem(self, workitem: Workitem, ae_title: str) -> bool:
        """Unsubscribe from one workitem; False when there was nothing to end."""
        ended = delete(WorkitemSubscription).where(
            WorkitemSubscription.workitem_id == workitem.id, WorkitemSubscription.ae_title == ae_title
        )
        return self._session.execute(ended.returning(WorkitemSubscription.ae_title)).first() is not None

    def to_worklist(self, ae_title: str, *, filtered: bool, filter_: dict[str, str], deletion_lock: bool) -> None:
        """Subscribe to every workitem to come, or to those that match; takes the place of the earlier one."""
        self.suspend(ae_title, filtered=filtered)
        subscription = WorklistSubscription(
            tenant=self._tenant, ae_title=ae_title, filtered=filtered, filter=filter_, deletion_lock=deletion_lock
        )
        self._session.add(subscription)
        self._session.flush()

    def suspend(self, ae_title: str, *, filtered: bool) -> bool:
        """End the subscription to workitems to come, and none to a workitem; False when there was none."""
        ended = delete(WorklistSubscription).where(
            WorklistSubscription.tenant == self._tenant,
            WorklistSubscription.ae_title == ae_title,
            WorklistSubscription.filtered == filtered,
        )
        return self._session.execute(ended.returning(WorklistSubscription.ae_title)).first() is not None

    def from_all_workitems(self, ae_title: str) -> bool:
        """Unsubscribe from every workitem; False when there was nothing to end."""
        ours = select(Workitem.id).where(Workitem.tenant == self._tenant)
        ended = delete(WorkitemSubscription).where(
            WorkitemSubscription.ae_title == ae_title, WorkitemSubscription.workitem_id.in_(ours)
        )
        return self._session.execute(ended.returning(WorkitemSubscription.ae_title)).first() is not None

    def of_worklist(self) -> Sequence[WorklistSubscription]:
        """Return the subscriptions to workitems to come."""
        return self._session.scalars(
            select(WorklistSubscription).where(WorklistSubscription.tenant == self._tenant)
        ).all()

    def of_workitem(self, workitem: Workitem) -> Sequence[str]:
        """Return the AE titles that are told of the workitem."""
        return self._session.scalars(
            select(WorkitemSubscription.ae_title)
            .where(WorkitemSubscription.workitem_id == workitem.id)
            .order_by(WorkitemSubscription.ae_title)
        ).all()


class Events:
    """Event reports on their way: written with the change they tell of, removed once they were sent.

    So a report is lost by no crash and may come twice. Receivers that do not come within `KEPT_FOR` miss theirs.
    """

    def __init__(self, session: Session, tenant: str) -> None:
        self._session = session
        self._tenant = tenant

    def add(self, content: dict[str, Any], ae_titles: Iterable[str], now: datetime) -> None:
        """Let a report wait for each of the receivers."""
        rows = [
            {"tenant": self._tenant, "ae_title": ae_title, "content": content, "created_at": now}
            for ae_title in ae_titles
        ]
        if rows:
            self._session.execute(delete(WorkitemEvent).where(WorkitemEvent.created_at < now - KEPT_FOR))
            self._session.execute(insert(WorkitemEvent), rows)

    def waiting(self, ae_title: str, *, limit: int = 100) -> Sequence[WorkitemEvent]:
        """Return the reports that wait for a receiver, the oldest first."""
        return self._session.scalars(
            select(WorkitemEvent)
            .where(WorkitemEvent.tenant == self._tenant, WorkitemEvent.ae_title == ae_title)
            .order_by(WorkitemEvent.id)
            .limit(limit)
        ).all()

    def sent(self, ids: Sequence[int]) -> None:
        """Remove reports that were sent."""
        self._session.execute(delete(WorkitemEvent).where(WorkitemEvent.id.in_(ids)))
