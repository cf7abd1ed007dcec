"""Answers to requests for storage commitment, for those who ask again."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from hulumed_platform.storage.inserts import insert_or_ignore
from hulumed_platform.storage.workitem_models import CommitmentRequest

KEPT_FOR = timedelta(days=30)
"""How long an answer can be read again, and its Transaction UID not be used again."""


class Commitments:
    """The answers given to a tenant, in a transaction of the caller."""

    def __init__(self, session: Session, tenant: str) -> None:
        self._session = session
        self._tenant = tenant

    def add(self, transaction_uid: str, result: dict[str, Any], now: datetime) -> bool:
        """Keep an answer; False when there is one under this Transaction UID."""
        self._session.execute(delete(CommitmentRequest).where(CommitmentRequest.created_at < now - KEPT_FOR))
        return insert_or_ignore(
            self._session,
            CommitmentRequest,
            tenant=self._tenant,
            transaction_uid=transaction_uid,
            result=result,
            created_at=now,
        )

    def find(self, transaction_uid: str) -> dict[str, Any] | None:
        """Return the answer given under this Transaction UID."""
        return self._session.scalar(
            select(CommitmentRequest.result).where(
                CommitmentRequest.tenant == self._tenant, CommitmentRequest.transaction_uid == transaction_uid
            )
        )
