"""Settings say which broker; a password comes from a file and nowhere else."""

import ssl
from pathlib import Path

import pytest

from hulumed_platform.core.settings import SettingsError
from hulumed_platform.worker.broker import open_broker
from hulumed_platform.worker.settings import WorkerSettings


def settings(broker_url: str, password_file: Path | None = None) -> WorkerSettings:
    """A worker with this broker."""
    return WorkerSettings(
        objects_url="file:///objects",
        database_url="sqlite:////database",
        decoder_address="decoder:50051",
        broker_url=broker_url,
        broker_password_file=password_file,
    )


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("redis://cache:6379/1", "redis://:p%40ss%2Fword@cache:6379/1"),
        ("amqp://hulumed@rabbit:5672/vhost", "amqp://hulumed:p%40ss%2Fword@rabbit:5672/vhost"),
    ],
)
def test_the_password_comes_from_its_file(tmp_path: Path, url: str, opened: str) -> None:
    """A password of any characters ends up where the broker reads it."""
    (tmp_path / "password").write_text("p@ss/word\n")
    assert open_broker(settings(url, tmp_path / "password")).conf.broker_url == opened
    assert open_broker(settings(url)).conf.broker_url == url


def test_a_password_in_the_url_is_refused() -> None:
    """Environment variables show up in dashboards; the message must not repeat the password."""
    with pytest.raises(SettingsError, match="broker_password_file") as caught:
        open_broker(settings("redis://:secret@cache:6379/1"))
    assert "secret" not in str(caught.value)


def test_rediss_checks_the_certificate() -> None:
    """kombu's default for rediss:// is to trust anyone."""
    assert open_broker(settings("rediss://cache:6379/1")).conf.broker_use_ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_the_folder_is_made(tmp_path: Path) -> None:
    """The embedded broker starts from nothing; where that fails the setting is named."""
    open_broker(settings(f"filesystem://{tmp_path / 'new' / 'broker'}"))
    assert (tmp_path / "new" / "broker").is_dir()

    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="broker_url"):
        open_broker(settings(f"filesystem://{tmp_path / 'file' / 'broker'}"))


def test_messages_are_json_only(tmp_path: Path) -> None:
    """A broker that others can write to must not run code here."""
    assert open_broker(settings(f"filesystem://{tmp_path}")).conf.accept_content == ["json"]


@pytest.mark.parametrize("url", ["filesystem://relative", "memory://", "redis://", "amqps://rabbit/vhost"])
def test_other_brokers_are_refused(url: str) -> None:
    """A broker that was never tried is no broker of ours."""
    with pytest.raises(ValueError, match="broker_url"):
        settings(url)
