"""Every test of storage runs on both databases and on both object stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hulumed_platform.storage.database import Database
from hulumed_platform.storage.local import LocalObjects
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.storage.s3 import S3Objects
from tests.support.postgres import Postgres
from tests.support.s3 import S3Server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database without a schema."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'platform.sqlite'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.create_database()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty database with the current schema."""
    opened = Database(database_url)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture(params=["local", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty object store."""
    if request.param == "local":
        return LocalObjects(tmp_path / "objects")
    server: S3Server = request.getfixturevalue("s3_server")
    return s3_objects(server, prefix=tmp_path.name)


def s3_objects(
    server: S3Server, prefix: str = "", secret_key: str | None = None, bucket: str | None = None
) -> S3Objects:
    """Open the server's bucket, or another one, with its keys or a wrong one."""
    return S3Objects(
        endpoint=server.endpoint,
        bucket=bucket or server.bucket,
        prefix=prefix,
        secure=False,
        access_key=server.access_key,
        secret_key=secret_key or server.secret_key,
    )
