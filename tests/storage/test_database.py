"""Transactions, migrations and what an unreachable database says."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage import schema
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.migrations.__main__ import draft
from hulumed_platform.storage.models import Base
from hulumed_platform.storage.records import Registered
from hulumed_platform.storage.studies import Studies
from tests.storage.rows import STUDY_UID, instance
from tests.support.postgres import Postgres
from tests.support.processes import free_ports

MIGRATE = "import sys; from hulumed_platform.storage.database import Database; Database(sys.argv[1]).migrate()"

DIE_IN_A_TRANSACTION = """
import sys, time
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.studies import Studies
from tests.storage.rows import instance

with Database(sys.argv[1]).session() as session:
    print(Studies(session).register(instance()), flush=True)
    time.sleep(60)
"""


def num_studies(database: Database) -> int:
    with database.reading() as session:
        return len(Studies(session).list("acme"))


def test_the_migrations_end_at_the_models(database: Database) -> None:
    """A column that is added to a model and to no migration would be missed only in production."""
    with database.reading() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_way_back_leads_to_an_empty_database(database: Database) -> None:
    """A release that is taken back takes its schema back, and may come again."""
    with database.session() as session:
        command.downgrade(schema.alembic_config(session.connection()), "base")
        tables = inspect(session.connection()).get_table_names()
    assert tables == ["alembic_version"]
    database.migrate()
    database.require_current_schema()


def test_a_draft_of_unchanged_models_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m hulumed_platform.storage.migrations` numbers the next migration and finds nothing to do."""
    migrations = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, migrations)
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    num_before = len(list((migrations / "versions").glob("*.py")))
    draft("nothing new")
    (drafted,) = (migrations / "versions").glob(f"{num_before + 1:04}_nothing_new.py")
    assert drafted.read_text().count("\n    pass") == 2


def test_the_command_brings_a_database_up(database_url: str) -> None:
    """What the message of a room with the wrong schema names does what it says, and may be done twice."""
    database = Database(database_url)
    with pytest.raises(PlatformError, match=r"hulumed_platform\.storage\.upgrade"):
        database.require_current_schema()
    for _ in range(2):
        assert upgrade(HULUMED_STORAGE_DATABASE_URL=database_url) == (0, "")
    database.require_current_schema()
    database.close()


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    """One line for the operator of a job, no traceback."""
    code, told = upgrade()
    assert (code, told.count("\n")) == (2, 1)
    assert "HULUMED_STORAGE_DATABASE_URL" in told
    (tmp_path / "file").touch()
    code, told = upgrade(HULUMED_STORAGE_DATABASE_URL=f"sqlite:///{tmp_path}/file/x.sqlite")
    assert (code, told.count("\n")) == (1, 1)


def upgrade(**environment: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "hulumed_platform.storage.upgrade"]
    done = subprocess.run(
        command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True, check=False, timeout=60
    )
    return done.returncode, done.stderr


def test_processes_that_migrate_at_once_all_succeed(database_url: str) -> None:
    """Jobs of two releases may run at the same time."""
    command = [sys.executable, "-c", MIGRATE, database_url]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(process.communicate()[1], process.returncode) for process in processes] == [("", 0)] * 4
    database = Database(database_url)
    database.require_current_schema()
    database.close()


def test_threads_that_migrate_at_once_all_succeed(database_url: str) -> None:
    """The embedded platform may open several rooms in one process."""
    database, errors = Database(database_url), list[BaseException]()

    def migrate() -> None:
        try:
            database.migrate()
        except BaseException as error:  # noqa: BLE001 (a thread's error is asserted on below)
            errors.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    database.close()


def test_nothing_starts_on_another_schema(database_url: str) -> None:
    """Neither on an empty database nor on one of a later version; the message names both."""
    database = Database(database_url)
    with pytest.raises(PlatformError, match="schema none") as caught:
        database.require_current_schema()
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.UNAVAILABLE, False)
    database.migrate()
    database.require_current_schema()
    with database.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(PlatformError, match="9999"):
        database.require_current_schema()
    database.close()


def test_a_block_that_ends_is_committed_and_one_that_raises_is_not(database: Database) -> None:
    """Half a request leaves no rows."""

    def break_off() -> None:
        with database.session() as session:
            Studies(session).register(instance())
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert num_studies(database) == 0
    with database.session() as session:
        Studies(session).register(instance())
    assert num_studies(database) == 1


def test_a_process_killed_in_a_transaction_leaves_nothing(database: Database, database_url: str) -> None:
    """Neither its rows nor its locks: others write on at once."""
    command = [sys.executable, "-c", DIE_IN_A_TRANSACTION, database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "new\n"
        process.send_signal(signal.SIGKILL)
    assert num_studies(database) == 0
    with database.session() as session:
        assert Studies(session).register(instance()) is Registered.NEW


def test_rows_can_be_read_after_the_block(database: Database) -> None:
    """An answer is built after the commit, without another query."""
    with database.session() as session:
        Studies(session).register(instance())
        study = Studies(session).get("acme", STUDY_UID)
        slices = Studies(session).instances(study.id)
    assert study.created_at.tzinfo is not None
    assert slices[0].series.modality == "CT"


def test_a_reading_block_cannot_write(database: Database) -> None:
    """A write that slipped in would break under load on SQLite alone; it breaks at once, on both."""
    with pytest.raises((DBAPIError, PlatformError)), database.reading() as session:
        Studies(session).register(instance())
    with database.session() as session:
        Studies(session).register(instance())


def test_a_lock_that_is_not_to_be_had_is_retryable(database: Database, database_url: str) -> None:
    """Someone holds a row and hangs: the next gives up in time instead of hanging too."""
    impatient = Database(database_url, lock_timeout_s=0.2)
    with database.session() as holder:
        Studies(holder).register(instance(1))

        def register() -> None:
            with impatient.session() as session:
                Studies(session).register(instance(2))

        with pytest.raises(PlatformError) as caught:
            register()
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.UNAVAILABLE, True)
    register()
    impatient.close()


def test_a_row_read_again_is_read_anew(database: Database) -> None:
    """The repositories update by statement; a session that looked before still sees what it has changed since."""
    with database.session() as session:
        studies = Studies(session)
        studies.register(instance(1))
        study = studies.get("acme", STUDY_UID)
        studies.register(instance(2))
        assert studies.get("acme", STUDY_UID).revision == 2
        assert studies.by_id(study.id).revision == 2
        studies.register(instance(3))
        assert studies.list("acme")[0].revision == 3
        studies.register(instance(4))
        assert studies.by_id(study.id).revision == 4


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    """A status page is answered while a large post is being stored."""
    with database.session() as session:
        Studies(session).register(instance())
        assert num_studies(database) == 0
    assert num_studies(database) == 1


def test_an_acknowledgement_survives_a_power_cut_on_sqlite(tmp_path: Path) -> None:
    """The settings of SQLite that make a commit durable and references true hold on each connection."""
    database = Database(f"sqlite:///{tmp_path / 'new' / 'platform.sqlite'}")
    for block in (database.session, database.reading):
        with block() as session:
            pragmas = [session.execute(text(f"PRAGMA {name}")).scalar() for name in ("synchronous", "foreign_keys")]
            journal_mode = session.execute(text("PRAGMA journal_mode")).scalar()
        assert (pragmas, journal_mode) == ([2, 1], "wal")  # 2 is FULL
    database.close()


def test_check_passes_on_a_reachable_database(database_url: str) -> None:
    """Readiness needs no tables."""
    database = Database(database_url)
    database.check()
    database.close()


def test_an_unreachable_server_is_retryable() -> None:
    """Nobody listens; the message tells nothing of the address or the user."""
    (port,) = free_ports(1)
    database = Database(f"postgresql+psycopg://someone@127.0.0.1:{port}/somewhere")
    for ask in (database.check, database.migrate, database.require_current_schema):
        with pytest.raises(PlatformError, match="cannot be reached") as caught:
            ask()
        assert (caught.value.code, caught.value.retryable) == (ErrorCode.UNAVAILABLE, True)
        assert "someone" not in str(caught.value)


def test_a_server_that_came_back_is_used_again(postgres: Postgres) -> None:
    """Pooled connections that died while the server restarted are replaced without anyone noticing."""
    database = Database(postgres.create_database())
    database.check()
    with postgres.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid()")
    database.check()
    database.close()


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    """A wrong path in the settings; the file is left as it was."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be looked at as one" * 100)
    with pytest.raises(PlatformError, match="is not one") as caught:
        Database(f"sqlite:///{path}").check()
    assert not caught.value.retryable
    assert path.read_text().startswith("not a database")
