"""Run by Alembic inside `schema.upgrade`, which hands over a connection whose transaction holds the lock."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import TypeDecorator

from hulumed_platform.storage import workitem_models  # it imports `models`: every table is known then


def _render_own_type(kind: str, value: object, _context: AutogenContext) -> str | Literal[False]:
    """Write what a type of ours is in the database: a migration must not change when our class does."""
    return f"sa.{value.impl!r}" if kind == "type" and isinstance(value, TypeDecorator) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=workitem_models.Workitem.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    render_item=_render_own_type,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
