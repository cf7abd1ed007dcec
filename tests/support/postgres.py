"""A real PostgreSQL server for the test session, on a Unix socket in a folder of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from tests.support.processes import running

_START_TIMEOUT_S = 30
_FLAGS = {"fsync": "off", "listen_addresses": "", "max_connections": "60", "log_min_messages": "fatal"}


@dataclass(frozen=True)
class Postgres:
    """A running server: the folder of its socket and the superuser's name; connections need no password."""

    socket_folder: Path
    user: str

    def create_database(self) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        name = f"test_{uuid4().hex}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql+psycopg://{self.user}@/{name}?host={self.socket_folder}"

    @contextmanager
    def away(self, url: str) -> Iterator[None]:
        """While the block runs nobody can connect to a database; who was connected is thrown out."""
        name = make_url(url).database or ""
        with self.connect() as connection:
            connection.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false".encode())
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            with self.connect() as connection:
                connection.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true".encode())

    def connect(self) -> psycopg.Connection:
        """Connect to the server's own database, to look after the others from there."""
        return psycopg.connect(host=str(self.socket_folder), user=self.user, dbname="postgres", autocommit=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for the whole session; skips where PostgreSQL is not installed."""
    initdb, server = _binary("initdb"), _binary("postgres")
    if initdb is None or server is None:
        pytest.skip("PostgreSQL (initdb, postgres) is not installed")
    user = _unprivileged_user()
    # not pytest's own temporary folder: another user has no right to enter it, and a socket's path is at most 107 long
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _give(folder, user)
        data = folder / "data"
        as_user = _prefix(user)
        subprocess.run(
            [*as_user, initdb, "-D", data, "-U", "hulumed", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )
        flags = [word for name, value in _FLAGS.items() for word in ("-c", f"{name}={value}")]
        command = [*as_user, server, "-D", str(data), "-k", str(folder), *flags]
        with running(command, log=folder / "log", stop_signal=signal.SIGINT):  # SIGINT: PostgreSQL's fast shutdown
            started = Postgres(folder, "hulumed")
            _wait(started, folder / "log")
            yield started


def _wait(server: Postgres, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            server.connect().close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        else:
            return


@cache
def _binary(name: str) -> str | None:
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return shutil.which(name) or (str(versions[-1]) if versions else None)


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Whom to run the server as: PostgreSQL refuses to be root, and needs nobody else where we are not."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _give(folder: Path, user: pwd.struct_passwd | None) -> None:
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)


def _prefix(user: pwd.struct_passwd | None) -> list[str]:
    if user is None:
        return []
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
