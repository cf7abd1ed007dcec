"""The settings name a store and a database, and what is wrong is told before anything starts."""

from pathlib import Path

import pytest
from pydantic_settings import SettingsConfigDict

from hulumed_platform.core.settings import SettingsError
from hulumed_platform.storage.local import LocalObjects
from hulumed_platform.storage.s3 import S3Objects
from hulumed_platform.storage.settings import StorageSettings, open_database, open_objects
from tests.support.postgres import Postgres
from tests.support.s3 import S3Server


class RoomWithStorage(StorageSettings):
    """As a room mixes them in."""

    model_config = SettingsConfigDict(env_prefix="TEST_")


def settings(monkeypatch: pytest.MonkeyPatch, **variables: object) -> RoomWithStorage:
    """Read the settings from the environment, where a room's come from."""
    given = {"objects_url": "file:///nowhere", "database_url": "sqlite:////nowhere", **variables}
    for name, value in given.items():
        monkeypatch.setenv(f"TEST_{name.upper()}", str(value))
    return RoomWithStorage.from_environment()


def test_a_local_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder, also with a blank in its name, and a file; neither needs to be there."""
    root = tmp_path / "my objects"
    local = settings(
        monkeypatch,
        objects_url=root.as_uri(),
        database_url=f"sqlite:///{tmp_path}/new/platform.sqlite",
    )
    objects, database = open_objects(local), open_database(local)
    assert isinstance(objects, LocalObjects)
    objects.check()
    assert root.is_dir()
    database.migrate()
    database.require_current_schema()
    database.close()


def test_a_cluster_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, s3_server: S3Server, postgres: Postgres
) -> None:
    """A bucket with keys from files and a server with the password from a file."""
    for name, secret in (("access", s3_server.access_key), ("secret", s3_server.secret_key), ("password", "p@ss/w:rd")):
        (tmp_path / name).write_text(secret + "\n")
    cluster = settings(
        monkeypatch,
        objects_url=f"s3://{s3_server.bucket}/by/settings",
        s3_endpoint=s3_server.endpoint,
        s3_secure="false",
        s3_access_key_file=tmp_path / "access",
        s3_secret_key_file=tmp_path / "secret",
        database_url=postgres.create_database(),
        database_password_file=tmp_path / "password",
    )
    objects, database = open_objects(cluster), open_database(cluster)
    assert isinstance(objects, S3Objects)
    objects.check()
    stored = objects.put("acme", [b"x"])
    assert objects.exists("acme", stored.digest)
    database.check()
    database.close()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("objects_url", "objects"),
        ("objects_url", "file://objects"),
        ("objects_url", "s3://"),
        ("objects_url", "s3://UPPER/x"),
        ("database_url", "platform.sqlite"),
        ("database_url", "sqlite://"),
        ("database_url", "mysql://host/db"),
        ("database_url", "postgresql://host/db"),
        ("database_url", "postgresql+psycopg://user:secret@host/db"),
        ("s3_endpoint", "http://minio:9000"),
        ("s3_endpoint", "no host"),
    ],
)
def test_a_wrong_setting_is_fatal(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """It is named, and a password that was pasted into the URL is not shown."""
    with pytest.raises(SettingsError, match=f"TEST_{variable.upper()}") as caught:
        settings(monkeypatch, **{variable: value})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "s3_endpoint"),
        ({"s3_endpoint": "minio:9000", "s3_access_key_file": __file__}, "secret key"),
        ({"s3_endpoint": "minio:9000", "s3_access_key_file": "/absent"}, "/absent"),
    ],
)
def test_an_s3_store_that_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    """What is missing is said when the room starts."""
    with pytest.raises(SettingsError, match=named):
        open_objects(settings(monkeypatch, objects_url="s3://bucket/x", **variables))
