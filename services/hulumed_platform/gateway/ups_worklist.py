"""The worklist: each transaction of PS3.18, section 11, on rows, subscriptions and event reports of one SQL session."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway import ups_refusal
from hulumed_platform.gateway.dependencies import Door
from hulumed_platform.gateway.ups_body import Attributes
from hulumed_platform.gateway.ups_matching import keys_of, matches_of
from hulumed_platform.gateway.ups_refusal import RefusedError
from hulumed_platform.gateway.ups_reports import (
    CANCEL_DETAILS,
    cancel_requested,
    reports_of_creation,
    reports_of_update,
    state_report,
)
from hulumed_platform.gateway.ups_rules import TRANSACTION_UID, canceled, check_completed, created, updated
from hulumed_platform.storage.workitem_events import Events, Subscriptions
from hulumed_platform.storage.workitem_models import Workitem, WorkitemState
from hulumed_platform.storage.workitems import Workitems

WORKLIST = "1.2.840.10008.5.1.4.34.5"
FILTERED_WORKLIST = "1.2.840.10008.5.1.4.34.5.1"
"""Well-known UIDs that stand for all workitems, and for those that match a filter (PS3.4, section CC.2.3)."""
_FINAL = (WorkitemState.COMPLETED, WorkitemState.CANCELED)


class Worklist:
    """The worklist of a tenant at one moment, in a transaction of the caller.

    Every method raises `RefusedError` for what the standard turns down and `PlatformError` NOT_FOUND for a workitem
    that does not exist; nothing of the transaction is to be kept then.
    """

    def __init__(self, session: Session, tenant: str, now: datetime) -> None:
        self._items = Workitems(session, tenant)
        self._subscriptions = Subscriptions(session, tenant)
        self._events = Events(session, tenant)
        self._now = now

    def create(self, uid: str, data_set: Attributes) -> bool:
        """Make a workitem; say whether its Worklist Label was filled in."""
        attributes, is_filled = created(data_set, self._now)
        workitem = self._items.create(uid, attributes, keys_of(attributes), self._now)
        if workitem is None:
            raise RefusedError(409, "a workitem of this UID exists; update it, or choose another UID")
        self._subscribe_new(workitem)
        self._tell(workitem, reports_of_creation(workitem))
        return is_filled

    def update(self, uid: str, changes: Attributes, transaction_uid: str | None) -> None:
        """Change attributes; while the workitem is IN PROGRESS only for who knows its Transaction UID."""
        workitem = self._items.get(uid)
        transaction_uid = transaction_uid or _first(changes.pop(TRANSACTION_UID, None))
        _check_may_update(workitem, transaction_uid)
        before = workitem.attributes
        attributes = updated(workitem, changes, self._now)
        workitem = self._changed(workitem, ups_refusal.INCONSISTENT_UPDATE, attributes=attributes)
        self._items.replace_keys(workitem, keys_of(attributes))
        self._tell(workitem, reports_of_update(before, workitem))

    def change_state(self, uid: str, state: WorkitemState, transaction_uid: str) -> Workitem | None:
        """Claim, complete or cancel; None when the workitem was already in that final state."""
        workitem = self._items.get(uid)
        if state is WorkitemState.IN_PROGRESS:
            return self._claim(workitem, transaction_uid)
        if workitem.state is WorkitemState.SCHEDULED:
            raise _inconsistent("is SCHEDULED; claim it first, or request its cancellation")
        if workitem.transaction_uid not in (None, transaction_uid):  # nobody ever held what was canceled SCHEDULED
            raise RefusedError(400, "another Transaction UID holds the workitem", ups_refusal.UID_INCORRECT)
        if workitem.state is state:
            return None
        if workitem.state in _FINAL:
            raise _inconsistent(f"is {workitem.state.value}; that is final")
        return self._end(workitem, state)

    def request_cancel(self, uid: str, request: Attributes, requester: str) -> bool:
        """Cancel what nobody has begun, else tell the performer; False when the workitem was CANCELED before."""
        workitem = self._items.get(uid)
        details = {tag: request[tag] for tag in CANCEL_DETAILS if tag in request}
        match workitem.state:
            case WorkitemState.CANCELED:
                return False
            case WorkitemState.COMPLETED:
                raise RefusedError(409, "the workitem is COMPLETED; that is final", ups_refusal.ALREADY_COMPLETED)
            case WorkitemState.SCHEDULED:  # over IN PROGRESS, as PS3.4, section CC.2.2.3, has it
                self._end(self._claim(workitem, None), WorkitemState.CANCELED, details)
            case WorkitemState.IN_PROGRESS:
                if not self._subscriptions.of_workitem(workitem):
                    message = "nobody is subscribed to the workitem, so its performer would not hear of the request"
                    raise RefusedError(409, message, ups_refusal.NOBODY_TO_TELL)
                self._tell(workitem, [cancel_requested(workitem, details, requester)])
        return True

    def get(self, uid: str) -> Workitem:
        """The workitem."""
        return self._items.get(uid)

    def search(self, query: Iterable[tuple[str, str]], *, limit: int, offset: int) -> Sequence[Workitem]:
        """A page of the workitems that match, the oldest first."""
        return self._items.search(matches_of(query), limit=limit, offset=offset)

    def subscribe(self, uid: str, ae_title: str, *, deletion_lock: bool, filter_: dict[str, str]) -> None:
        """Tell an application entity of the changes of one workitem, or of all that there are and will be."""
        if uid not in (WORKLIST, FILTERED_WORKLIST):
            workitem = self._items.get(uid)
            self._subscriptions.to_workitem(workitem, ae_title, deletion_lock=deletion_lock)
            self._events.add(state_report(workitem), [ae_title], self._now)
            return
        if (uid == FILTERED_WORKLIST) != bool(filter_):
            raise RefusedError(400, "a filter goes with the filtered worklist, and with no other; name it there")
        matches = matches_of(filter_.items())
        self._subscriptions.to_worklist(
            ae_title, filtered=uid == FILTERED_WORKLIST, filter_=filter_, deletion_lock=deletion_lock
        )
        self._subscriptions.to_matching(matches, ae_title, deletion_lock=deletion_lock)
        if deletion_lock:  # PS3.4, section CC.2.4.3, asks for the first state with a lock only
            for workitem in self._items.search(matches):
                self._events.add(state_report(workitem), [ae_title], self._now)

    def unsubscribe(self, uid: str, ae_title: str) -> None:
        """End a subscription; that to the worklist takes those to the workitems with it."""
        if uid in (WORKLIST, FILTERED_WORKLIST):
            ended = self._subscriptions.suspend(ae_title, filtered=uid == FILTERED_WORKLIST)
            ended = self._subscriptions.from_all_workitems(ae_title) or ended
        else:
            ended = self._subscriptions.from_workitem(self._items.get(uid), ae_title)
        if not ended:
            raise _not_subscribed()

    def suspend(self, uid: str, ae_title: str) -> None:
        """Subscribe an application entity to no new workitems any more."""
        if not self._subscriptions.suspend(ae_title, filtered=uid == FILTERED_WORKLIST):
            raise _not_subscribed()

    def _claim(self, workitem: Workitem, transaction_uid: str | None) -> Workitem:
        if workitem.state is not WorkitemState.SCHEDULED:
            raise _inconsistent(f"is {workitem.state.value}; only a SCHEDULED one can be claimed")
        workitem = self._changed(
            workitem,
            ups_refusal.INCONSISTENT_STATE,
            state=WorkitemState.IN_PROGRESS,
            transaction_uid=transaction_uid,
        )
        self._tell(workitem, [state_report(workitem)])
        return workitem

    def _end(self, workitem: Workitem, state: WorkitemState, reasons: Attributes | None = None) -> Workitem:
        attributes = workitem.attributes
        if state is WorkitemState.COMPLETED:
            check_completed(attributes)
        else:
            attributes = canceled(attributes, reasons or {}, self._now)
        workitem = self._changed(workitem, ups_refusal.INCONSISTENT_STATE, state=state, attributes=attributes)
        self._items.replace_keys(workitem, keys_of(attributes))
        self._tell(workitem, [state_report(workitem)])
        return workitem

    def _changed(self, workitem: Workitem, inconsistent: str, **values: object) -> Workitem:
        if not self._items.change(workitem, self._now, **values):
            raise RefusedError(409, "someone else changed the workitem meanwhile; read it again", inconsistent)
        return self._items.get(workitem.sop_instance_uid)

    def _subscribe_new(self, workitem: Workitem) -> None:
        """A lock asked for by one of two subscriptions of a receiver holds."""
        for subscription in sorted(self._subscriptions.of_worklist(), key=lambda one: not one.deletion_lock):
            if not subscription.filtered or self._items.is_match(workitem, matches_of(subscription.filter.items())):
                self._subscriptions.keep_or_add(
                    workitem, subscription.ae_title, deletion_lock=subscription.deletion_lock
                )

    def _tell(self, workitem: Workitem, reports: Iterable[dict[str, Any]]) -> None:
        receivers = self._subscriptions.of_workitem(workitem)
        for report in reports:
            self._events.add(report, receivers, self._now)


@contextmanager
def open_worklist(door: Door) -> Iterator[Worklist]:
    """The worklist of this door's tenant, in one transaction that commits at the end of the block."""
    with door.database.session() as session:
        yield Worklist(session, door.settings.tenant, datetime.now(UTC))


def _check_may_update(workitem: Workitem, transaction_uid: str | None) -> None:
    if workitem.state in _FINAL:
        message = f"the workitem is {workitem.state.value} and stays as it is"
        raise RefusedError(400, message, ups_refusal.INCONSISTENT_UPDATE)
    if workitem.state is WorkitemState.SCHEDULED and transaction_uid:
        message = "nobody has claimed the workitem; update it without a Transaction UID"
        raise RefusedError(400, message, ups_refusal.NOT_CLAIMED, ups_refusal.UID_INCORRECT)
    if workitem.state is WorkitemState.IN_PROGRESS and workitem.transaction_uid != transaction_uid:
        fault = ups_refusal.UID_INCORRECT if transaction_uid else ups_refusal.UID_MISSING
        message = "the workitem is IN PROGRESS; name the Transaction UID that it was claimed with"
        raise RefusedError(400, message, ups_refusal.NOT_CLAIMED, fault)


def _first(element: dict[str, Any] | None) -> str | None:
    values = (element or {}).get("Value") or [None]
    return None if values[0] is None else str(values[0])


def _inconsistent(what: str) -> RefusedError:
    return RefusedError(409, f"the workitem {what}", ups_refusal.INCONSISTENT_STATE)


def _not_subscribed() -> PlatformError:
    return PlatformError(ErrorCode.NOT_FOUND, "No such subscription; there is nothing to end.")
