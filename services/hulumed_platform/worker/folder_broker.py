"""A broker that needs no server: messages are files of one folder.

kombu's own filesystem transport writes a message where readers look for it, so one can be taken half written, and
moves it through the system's temporary folder, where a killed reader leaves it. Here a message appears whole, by a
rename, and belongs to the reader that removes it. One that a killed worker had taken is gone; the sweeper sends it
again.
"""

import json
import logging
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem

log = logging.getLogger(__name__)

_POLLING_INTERVAL_S = 0.2

TRANSPORT = f"{__name__}:FolderTransport"
"""What Celery calls the transport."""


def transport_options(folder: Path) -> dict[str, Any]:
    """Make the folder, and say to the transport where it is.

    Raises:
        OSError: The folder cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folders = dict.fromkeys(("data_folder_in", "data_folder_out", "control_folder"), str(folder))
    return {**folders, "polling_interval": _POLLING_INTERVAL_S}


class FolderChannel(filesystem.Channel):
    """Puts and takes messages; queues and their sizes are as in kombu."""

    def _put(self, queue: str, payload: dict[str, Any], **kwargs: Any) -> None:  # type: ignore[override]  # noqa: ARG002
        folder = Path(self.data_folder_out)
        draft = folder / f".{uuid.uuid4().hex}.part"  # no queue's message ends so
        try:
            draft.write_text(json.dumps(payload), encoding="utf-8")
            draft.rename(folder / f"{time.time_ns():020}_{uuid.uuid4().hex}.{queue}.msg")
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise ChannelError(f"cannot put a message into {folder}: {error.strerror}") from error

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:  # noqa: ARG002 - as in the base class
        folder = Path(self.data_folder_in)
        for file in sorted(folder.glob(f"*.{queue}.msg")):
            try:
                content = file.read_bytes()
                file.unlink()
            except FileNotFoundError:
                continue  # another reader was quicker
            try:
                message: dict[str, Any] = json.loads(content)
            except ValueError:
                log.warning("message dropped: a power cut or another program spoilt it", extra={"file": file.name})
                continue
            return message
        raise Empty


class FolderTransport(filesystem.Transport):
    """kombu's transport with our channel."""

    Channel = FolderChannel

    def drain_events(self, connection: Any, timeout: float | None = None, **_: Any) -> None:
        """Take a message, waiting for one look at most: between two calls Celery notices that it is to stop.

        As with any transport, one that returns may have taken nothing; a `TimeoutError` says that the time is over.
        """
        look_s = _POLLING_INTERVAL_S if timeout is None else min(timeout, _POLLING_INTERVAL_S)
        try:
            super().drain_events(connection, timeout=look_s)  # type: ignore[no-untyped-call]
        except TimeoutError:
            if look_s == timeout:
                raise
