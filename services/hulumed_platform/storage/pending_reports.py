"""Storage commitments that are still to be reported to the peers that asked for them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from hulumed_platform.storage.models import PendingCommitment


class PendingReports:
    """The pending commitments of one tenant, in a transaction of the caller. `now` is always given, never read here."""

    def __init__(self, session: Session, tenant: str) -> None:
        self._session = session
        self._tenant = tenant

    def add(
        self, peer: str, transaction_uid: str, references: Sequence[tuple[str, str]], now: datetime, *, due_at: datetime
    ) -> str:
        """Note a request, in place of one of the same transaction; return its id. References are (class, instance)."""
        self._session.execute(
            delete(PendingCommitment).where(
                PendingCommitment.tenant == self._tenant,
                PendingCommitment.peer == peer,
                PendingCommitment.transaction_uid == transaction_uid,
            )
        )
        commitment = PendingCommitment(
            id=f"commitment-{uuid4().hex}",
            tenant=self._tenant,
            peer=peer,
            transaction_uid=transaction_uid,
            references=[list(reference) for reference in references],
            attempt=0,
            next_attempt_at=due_at,
            created_at=now,
        )
        self._session.add(commitment)
        self._session.flush()
        return commitment.id

    def due(self, now: datetime) -> Sequence[tuple[str, str]]:
        """The (id, peer) of those to be reported now, those that wait longest first."""
        rows = self._session.execute(
            select(PendingCommitment.id, PendingCommitment.peer)
            .where(PendingCommitment.tenant == self._tenant, PendingCommitment.next_attempt_at <= now)
            .order_by(PendingCommitment.next_attempt_at, PendingCommitment.id)
        )
        return [(row.id, row.peer) for row in rows]

    def claim(self, commitment_id: str, now: datetime, *, until: datetime) -> PendingCommitment | None:
        """Take one that is due, so that nobody else reports it before `until`; None when it is taken, or is gone."""
        return self._session.scalar(
            update(PendingCommitment)
            .where(PendingCommitment.id == commitment_id, PendingCommitment.next_attempt_at <= now)
            .values(next_attempt_at=until, attempt=PendingCommitment.attempt + 1)
            .returning(PendingCommitment),
            execution_options={"synchronize_session": False},
        )

    def put_off(self, commitment_id: str, until: datetime) -> None:
        """Try again then."""
        self._session.execute(
            update(PendingCommitment).where(PendingCommitment.id == commitment_id).values(next_attempt_at=until)
        )

    def remove(self, commitment_id: str) -> None:
        """Forget one: its peer has the report, or will never have it."""
        self._session.execute(delete(PendingCommitment).where(PendingCommitment.id == commitment_id))
