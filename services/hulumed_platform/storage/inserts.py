"""INSERT … ON CONFLICT DO NOTHING, which both databases have under one name and SQLAlchemy under two."""

from typing import Any

from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from hulumed_platform.storage.models import Base


def insert_or_ignore(session: Session, model: type[Base], **values: object) -> bool:
    """Insert a row unless a unique constraint forbids it; say whether it was inserted.

    Where another transaction is about to insert the same key, PostgreSQL waits for its end first; when False comes
    back, the row that was in the way is therefore visible to the next statement (READ COMMITTED).
    """
    dialect: Any = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    # Into the table, not the mapped class: rows go in by the thousand, and the ORM would take twice as long for each.
    table = inspect(model).local_table
    statement = dialect.insert(table).values(**values).on_conflict_do_nothing().returning(*table.primary_key)
    return session.execute(statement).first() is not None
