"""Where objects and rows live: the settings that every room with storage shares, and how to open what they name."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from hulumed_platform.core.settings import Settings, SettingsError, read_secret
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.local import LocalObjects
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.storage.s3 import S3Objects


class ObjectSettings(Settings):
    """Where objects live. Mix-in: `class IngestSettings(ObjectSettings, GrpcRoomSettings)`."""

    objects_url: str = Field(pattern=r"^(file:///.+|s3://[a-z0-9][a-z0-9.-]{2,62}(/.*)?)$")
    """Object store: `file:///absolute/folder` or `s3://bucket/optional/prefix`."""
    s3_endpoint: str = Field(default="", pattern=r"^[A-Za-z0-9.:\[\]-]*$")
    """Host and port of the S3 server, e.g. `minio:9000`, without a scheme."""
    s3_region: str = "us-east-1"
    """Region that requests are signed for; most servers other than AWS take any."""
    s3_secure: bool = True
    """Whether the S3 server is spoken to by TLS."""
    s3_access_key_file: Path | None = None
    """File that holds the access key; unset with an unset secret key = anonymous requests."""
    s3_secret_key_file: Path | None = None
    """File that holds the secret key."""


class DatabaseSettings(Settings):
    """Where rows live."""

    database_url: str
    """`sqlite:////absolute/path` or `postgresql+psycopg://user@host:port/database`, without the password."""
    database_password_file: Path | None = None
    """File that holds the password of the PostgreSQL user."""

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        try:
            url = make_url(value)
        except ArgumentError:
            raise ValueError("not a database URL") from None
        if url.drivername not in ("sqlite", "postgresql+psycopg") or not url.database:
            raise ValueError("use sqlite:////absolute/path or postgresql+psycopg://user@host/database")
        if url.password is not None:
            raise ValueError("put the password into the file named by database_password_file")
        return value


class StorageSettings(ObjectSettings, DatabaseSettings):
    """Where objects and rows live. Mix-in: `class GatewaySettings(StorageSettings, RoomSettings)`."""


def open_objects(settings: ObjectSettings) -> ObjectStore:
    """Open the object store; a local folder is made, a bucket must be there (`check()` says whether it is).

    Raises:
        SettingsError: An S3 store with a missing or malformed endpoint, or a key file that cannot be read.
    """
    url = urlsplit(settings.objects_url)
    if url.scheme == "file":
        return LocalObjects(Path(unquote(url.path)))
    if not settings.s3_endpoint:
        raise SettingsError("s3_endpoint: needed because objects_url names an S3 bucket")
    try:
        return _open_s3(settings, bucket=url.netloc, prefix=url.path.strip("/"))
    except ValueError as error:  # the client's own checks of endpoint, region and keys
        raise SettingsError(f"s3_endpoint, s3_region or the keys: {error}") from error


def _open_s3(settings: ObjectSettings, *, bucket: str, prefix: str) -> S3Objects:
    return S3Objects(
        endpoint=settings.s3_endpoint,
        bucket=bucket,
        prefix=prefix,
        region=settings.s3_region,
        secure=settings.s3_secure,
        access_key=_secret(settings.s3_access_key_file),
        secret_key=_secret(settings.s3_secret_key_file),
    )


def open_database(settings: DatabaseSettings) -> Database:
    """Open the database without connecting yet. The first use finds out whether it can be reached.

    Raises:
        SettingsError: The password file cannot be read.
    """
    return Database(_database_url(settings))


def _database_url(settings: DatabaseSettings) -> URL:
    password = _secret(settings.database_password_file)
    url = make_url(settings.database_url)
    return url if password is None else url.set(password=password)


def _secret(path: Path | None) -> str | None:
    return None if path is None else read_secret(path)
