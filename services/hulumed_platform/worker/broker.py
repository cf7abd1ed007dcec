"""The Celery application: which broker, one queue, and nothing that only adds noise."""

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from celery import Celery
from kombu.entity import Exchange, Queue

from hulumed_platform.core.settings import SettingsError, read_secret
from hulumed_platform.worker import folder_broker
from hulumed_platform.worker.settings import WorkerSettings

QUEUE = "hulumed-studies"

_CONNECT_TIMEOUT_S = 5
_VISIBILITY_TIMEOUT_S = 3600


def open_broker(settings: WorkerSettings) -> Celery:
    """The application of a worker process; it connects when it is first used.

    Raises:
        SettingsError: The folder cannot be made, or the password cannot be read.
    """
    app = Celery("hulumed", set_as_current=False, changes=_broker(settings))
    app.conf.update(
        task_queues=[_queue()],
        task_default_queue=QUEUE,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        broker_connection_timeout=_CONNECT_TIMEOUT_S,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a broker may be away for as long as it likes
        worker_pool="threads",
        worker_concurrency=settings.concurrency,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # SQL knows whose the study is, broker or not
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
    )
    return app


def _queue() -> Queue:
    """The queue under the broker's own exchange, so that there is nothing to bind."""
    return Queue(QUEUE, Exchange(""), routing_key=QUEUE)  # type: ignore[no-untyped-call]


def _broker(settings: WorkerSettings) -> dict[str, Any]:
    if settings.broker_url.startswith("filesystem://"):
        return {
            "broker_url": "filesystem://localhost",
            "broker_transport": folder_broker.TRANSPORT,
            "broker_transport_options": _folder_options(Path(settings.broker_url.removeprefix("filesystem://"))),
        }
    url = _with_password(settings.broker_url, settings.broker_password_file)
    if settings.broker_url.startswith("amqp://"):
        return {"broker_url": url}
    options = {"visibility_timeout": _VISIBILITY_TIMEOUT_S, "socket_connect_timeout": _CONNECT_TIMEOUT_S}
    tls = {"broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED}} if settings.broker_url.startswith("rediss:") else {}
    return {"broker_url": url, "broker_transport_options": options, **tls}


def _folder_options(folder: Path) -> dict[str, Any]:
    try:
        return folder_broker.transport_options(folder)
    except OSError as error:
        raise SettingsError(f"broker_url: cannot make the folder {folder}: {error.strerror}") from error


def _with_password(url: str, password_file: Path | None) -> str:
    parts = urlsplit(url)
    if parts.password is not None:
        raise SettingsError("broker_url: put the password into the file named by broker_password_file")
    if password_file is None:
        return url
    server = parts.netloc.rpartition("@")[2]
    return parts._replace(
        netloc=f"{parts.username or ''}:{quote(read_secret(password_file), safe='')}@{server}"
    ).geturl()
