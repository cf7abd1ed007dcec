"""INSERT … ON CONFLICT DO NOTHING, which both databases have under one name and SQLAlchemy under two."""

from functools import cache
from typing import Any

from sqlalchemy import Executable, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from hulumed_platform.storage.models import Base


def insert_or_ignore(session: Session, model: type[Base], **values: object) -> bool:
    """Insert a row unless a unique constraint forbids it; say whether it was inserted.

    Where another transaction is about to insert the same key, PostgreSQL waits for its end first; when False comes
    back, the row that was in the way is therefore visible to the next statement (READ COMMITTED).
    """
    statement = _statement(model, session.get_bind().dialect.name)
    return session.connection().execute(statement, values).first() is not None


@cache
def _statement(model: type[Base], dialect_name: str) -> Executable:
    """On the table and made once: a statement of the mapper's, made each time, takes ten times as long."""
    dialect: Any = sqlite if dialect_name == "sqlite" else postgresql
    statement: Executable = (
        dialect.insert(model.__table__).on_conflict_do_nothing().returning(inspect(model).primary_key[0])
    )
    return statement
