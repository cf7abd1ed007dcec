"""SQL: one engine a process, one transaction a `with` block, SQLite and PostgreSQL alike."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Engine, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage import engines, schema


class Database:
    """The database of a process. Safe for threads; blocking, so an event loop calls it in a worker thread.

    Every method raises `PlatformError` UNAVAILABLE (retryable) when the database cannot be reached or a lock is not
    to be had for `lock_timeout_s`; nothing of the transaction is kept then.
    """

    def __init__(self, url: str | URL, *, lock_timeout_s: float = 30.0) -> None:
        self._engine = engines.create(make_url(url), lock_timeout_s=lock_timeout_s)
        self._reading = engines.for_reading(self._engine)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction that may write: commits when the block ends, rolls back when it raises.

        What is acknowledged, enqueued or answered comes after the block, never inside it. Rows stay readable after
        it. On SQLite writers go one after another, so keep the block short and free of other I/O.
        """
        with _transaction(self._engine) as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads, and on SQLite waits for no writer."""
        with _transaction(self._reading) as session:
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
            schema.require_current(self._reading)

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()


@contextmanager
def _transaction(engine: Engine) -> Iterator[Session]:
    # the repositories update by statement, so a row that is read again is taken from the database again
    options = {"populate_existing": True}
    with (
        _translated(),
        Session(engine, expire_on_commit=False, execution_options=options) as session,
        session.begin(),
    ):
        yield session


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
