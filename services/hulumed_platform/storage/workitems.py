"""Workitems: making them, changing them one at a time, and finding them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.inserts import insert_or_ignore
from hulumed_platform.storage.workitem_models import Workitem, WorkitemKey, WorkitemState
from hulumed_platform.storage.workitem_search import Key, Match, conditions


class Workitems:
    """The workitems of a tenant, in a transaction of the caller."""

    def __init__(self, session: Session, tenant: str) -> None:
        self._session = session
        self._tenant = tenant

    def create(self, uid: str, attributes: dict[str, Any], keys: Iterable[Key], now: datetime) -> Workitem | None:
        """Make a SCHEDULED workitem; None when the tenant has one of this UID."""
        made = insert_or_ignore(
            self._session,
            Workitem,
            id=f"workitem-{uuid4().hex}",
            tenant=self._tenant,
            sop_instance_uid=uid,
            state=WorkitemState.SCHEDULED,
            revision=0,
            attributes=attributes,
            created_at=now,
            updated_at=now,
        )
        if not made:
            return None
        workitem = self.get(uid)
        self._add_keys(workitem, keys)
        return workitem

    def get(self, uid: str) -> Workitem:
        """Return the workitem. Raises NOT_FOUND."""
        workitem = self._session.scalar(
            select(Workitem).where(Workitem.tenant == self._tenant, Workitem.sop_instance_uid == uid)
        )
        if workitem is None:
            raise PlatformError(ErrorCode.NOT_FOUND, "No such workitem; create it first.")
        return workitem

    def change(self, workitem: Workitem, now: datetime, **values: object) -> bool:
        """Set columns of a row that is still as it was read; False, and nothing set, when someone was quicker.

        Of two who read one SCHEDULED row and want it IN PROGRESS, one gets it: the second statement waits for the
        first one's commit and then finds another revision.
        """
        changed = self._session.execute(
            update(Workitem)
            .where(Workitem.id == workitem.id, Workitem.revision == workitem.revision)
            .values(revision=Workitem.revision + 1, updated_at=now, **values)
            .returning(Workitem.id),
            execution_options={"synchronize_session": False},
        ).first()
        return changed is not None

    def replace_keys(self, workitem: Workitem, keys: Iterable[Key]) -> None:
        """Find the workitem by these values from now on."""
        self._session.execute(delete(WorkitemKey).where(WorkitemKey.workitem_id == workitem.id))
        self._add_keys(workitem, keys)

    def search(self, matches: Iterable[Match], *, limit: int | None = None, offset: int = 0) -> Sequence[Workitem]:
        """Return a page of the workitems that match, the oldest first; without `limit` all of them."""
        query = (
            select(Workitem)
            .where(Workitem.tenant == self._tenant, *conditions(matches, self._session.get_bind().dialect.name))
            .order_by(Workitem.created_at, Workitem.id)
        )
        return self._session.scalars(query.limit(limit).offset(offset)).all()

    def is_match(self, workitem: Workitem, matches: Iterable[Match]) -> bool:
        """Say whether a search with these keys would find the workitem."""
        dialect = self._session.get_bind().dialect.name
        query = select(Workitem.id).where(Workitem.id == workitem.id, *conditions(matches, dialect))
        return self._session.scalar(query) is not None

    def _add_keys(self, workitem: Workitem, keys: Iterable[Key]) -> None:
        rows = [
            {"workitem_id": workitem.id, "path": key.path, "item": key.item, "value": key.value} for key in set(keys)
        ]
        if rows:
            self._session.execute(insert(WorkitemKey), rows)
