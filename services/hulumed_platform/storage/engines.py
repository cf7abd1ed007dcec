"""How the two databases are connected to, so that both keep the same promises."""

import json
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from hulumed_platform.storage.spool import disk_errors

_CONNECT_TIMEOUT_S = 5
_POOL_TIMEOUT_S = 30


def create(url: URL, *, lock_timeout_s: float) -> Engine:
    """Make the engine of a process; it connects when it is first used.

    On both databases a commit that returned survives a power cut, references hold, and a transaction waits for
    another's lock for `lock_timeout_s` at most.
    """
    if url.get_backend_name() == "sqlite":
        return _create_sqlite(url, lock_timeout_s)
    return _create_postgresql(url, lock_timeout_s)


def for_reading(engine: Engine) -> Engine:
    """Return the same engine, with the same pool, for transactions that cannot write."""
    return engine.execution_options(sqlite_reading=True, postgresql_readonly=True)


def _create_postgresql(url: URL, lock_timeout_s: float) -> Engine:
    engine = create_engine(
        url,
        isolation_level="READ COMMITTED",  # whatever the server's default is: `inserts` and `workflow` rely on it
        pool_pre_ping=True,
        pool_timeout=_POOL_TIMEOUT_S,
        json_serializer=_strict_json,
        hide_parameters=True,  # a log would show the values of a failed statement; a file's name may be a patient's
        connect_args={"connect_timeout": _CONNECT_TIMEOUT_S},
    )

    @event.listens_for(engine, "connect")
    def _limit_waiting(connection: Any, _entry: ConnectionPoolEntry) -> None:
        try:
            connection.execute(f"SET lock_timeout = {round(lock_timeout_s * 1000)}")
            connection.commit()
        except BaseException:
            connection.close()  # the pool does not know it yet
            raise

    return engine


def _create_sqlite(url: URL, lock_timeout_s: float) -> Engine:
    with disk_errors():
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        pool_timeout=_POOL_TIMEOUT_S,
        json_serializer=_strict_json,
        hide_parameters=True,  # a log would show the values of a failed statement; a file's name may be a patient's
        connect_args={"timeout": lock_timeout_s},
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    """WAL lets readers go on beside the writer; FULL makes a commit outlive a power cut, as an acknowledgement must.

    LIKE heeds case as on PostgreSQL.
    """
    connection.isolation_level = None  # the driver's own implicit BEGIN would come too late to lock, see below
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "case_sensitive_like=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock first: a reader that turns into a writer cannot wait for it and fails at once instead."""
    reading = connection.get_execution_options().get("sqlite_reading", False)
    connection.exec_driver_sql(f"PRAGMA query_only={'ON' if reading else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _strict_json(value: object) -> str:
    """Refuse NaN and infinities, which are no JSON: SQLite would keep them and PostgreSQL would not."""
    return json.dumps(value, allow_nan=False)
