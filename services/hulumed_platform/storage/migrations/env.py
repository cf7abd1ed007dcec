"""Run by Alembic inside `schema.upgrade`, which hands over a connection whose transaction holds the lock."""

from alembic import context

from hulumed_platform.storage.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
