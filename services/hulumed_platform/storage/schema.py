"""The schema's version: bringing a database up to it, and refusing to work with any other."""

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from hulumed_platform.core.errors import ErrorCode, PlatformError

MIGRATIONS = Path(__file__).parent / "migrations"
"""The folder of `env.py` and the versions."""
_ADVISORY_LOCK = 0x48554C55_4D4544  # "HULUMED" in ASCII: a number that no other program on the server locks
_ONE_AT_A_TIME = threading.Lock()  # Alembic keeps its context in module globals


def upgrade(engine: Engine) -> None:
    """Run the missing migrations in one transaction, under a lock that other processes wait for."""
    with _ONE_AT_A_TIME, engine.begin() as connection:  # on SQLite the transaction begins with the write lock
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = 0"))  # however long the others' migration takes
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        command.upgrade(alembic_config(connection), "head")


def require_current(engine: Engine) -> None:
    """Raise UNAVAILABLE, not retryable, unless the database has this version's schema."""
    wanted = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != wanted:
        raise PlatformError(
            ErrorCode.UNAVAILABLE,
            f"The database has schema {found or 'none'}, this version needs {wanted}; migrate it first with "
            "`python -m hulumed_platform.storage.upgrade`.",
            retryable=False,
        )


def alembic_config(connection: Connection) -> Config:
    """Return what Alembic needs to run our `env.py` on a connection that is already in a transaction."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config
