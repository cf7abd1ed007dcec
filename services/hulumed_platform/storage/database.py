"""SQL: one engine a process, one transaction a `with` block, SQLite and PostgreSQL alike."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage import schema
from hulumed_platform.storage.spool import disk_errors

BUSY_TIMEOUT_S = 30
"""How long a SQLite writer waits for the one before it, and anyone for a pooled connection."""
CONNECT_TIMEOUT_S = 5
"""How long a PostgreSQL server may take to answer a new connection."""


class Database:
    """The database of a process. Safe for threads; blocking, so an event loop calls it in a worker thread.

    Every method raises `PlatformError` UNAVAILABLE (retryable) when the database cannot be reached or gives up on a
    lock; nothing of the transaction is kept then.
    """

    def __init__(self, url: str | URL) -> None:
        self._engine = _create_engine(make_url(url))
        self._reading = self._engine.execution_options(**_reading_options(self._engine))

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction that may write: commits when the block ends, rolls back when it raises.

        What is acknowledged, enqueued or answered comes after the block, never inside it. Rows stay readable after
        it. On SQLite writers go one after another, so keep the block short and free of other I/O.
        """
        with _translated(), Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads, and on SQLite waits for no writer."""
        with _translated(), Session(self._reading, expire_on_commit=False) as session, session.begin():
            yield session

    def check(self) -> None:
        """Raise UNAVAILABLE unless the database answers."""
        with self.reading() as session:
            session.execute(text("SELECT 1"))

    def migrate(self) -> None:
        """Bring the schema up to this version. Several processes may do so at once: one does, the others wait."""
        with _translated():
            schema.upgrade(self._engine)

    def require_current_schema(self) -> None:
        """Raise UNAVAILABLE, not retryable, unless the schema is exactly the one of this version."""
        with _translated():
            schema.require_current(self._engine)

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()


def _create_engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _create_sqlite(url)
    return create_engine(
        url,
        isolation_level="READ COMMITTED",  # whatever the server's default is: `inserts` and `workflow` rely on it
        pool_pre_ping=True,
        pool_timeout=BUSY_TIMEOUT_S,
        json_serializer=_strict_json,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
    )


def _create_sqlite(url: URL) -> Engine:
    with disk_errors():
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        pool_timeout=BUSY_TIMEOUT_S,
        json_serializer=_strict_json,
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _strict_json(value: object) -> str:
    """Refuse NaN and infinities, which are no JSON: SQLite would keep them and PostgreSQL would not."""
    return json.dumps(value, allow_nan=False)


def _configure_sqlite(connection: Any, _record: object) -> None:
    """WAL lets readers go on beside the writer; FULL makes a commit outlive a power cut, as an acknowledgement must."""
    connection.isolation_level = None  # the driver's own implicit BEGIN would come too late to lock, see below
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock first: a reader that turns into a writer cannot wait for it and fails at once instead."""
    reading = connection.get_execution_options().get("sqlite_reading", False)
    connection.exec_driver_sql(f"PRAGMA query_only={'ON' if reading else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _reading_options(engine: Engine) -> dict[str, bool]:
    return {"sqlite_reading": True} if engine.dialect.name == "sqlite" else {"postgresql_readonly": True}


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what the network, a lock or a full disk does into the platform's error; faults of ours pass through."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise _unavailable() from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise _unavailable() from error
        if getattr(error.orig, "sqlite_errorname", "") in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
            raise _spoilt() from error
        raise


def _unavailable() -> PlatformError:
    return PlatformError(ErrorCode.UNAVAILABLE, "The database cannot be reached or is overloaded; try again.")


def _spoilt() -> PlatformError:
    return PlatformError(
        ErrorCode.UNAVAILABLE,
        "The file of database_url should be an SQLite database and is not one; correct the path or restore the file.",
        retryable=False,
    )
