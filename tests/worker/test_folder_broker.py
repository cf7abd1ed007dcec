"""The broker that needs no server: every message reaches one reader, whole."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError

from hulumed_platform.worker.folder_broker import TRANSPORT, transport_options

READERS = 4
MESSAGES = 200


@contextmanager
def queue(folder: Path) -> Iterator[Any]:
    """A connection of its own, as each process has."""
    connect: Any = Connection
    options = transport_options(folder)
    # As in worker.broker: under the broker's own exchange. kombu writes what is bound to any other into the folder once
    # a process, so in the second folder of these tests it would have no queue, and lose every message without a word.
    studies = Queue("studies", Exchange(""), routing_key="studies")  # type: ignore[no-untyped-call]
    with (
        connect("filesystem://", transport=TRANSPORT, transport_options=options) as connection,
        connection.SimpleQueue(studies, no_ack=True) as opened,
    ):
        yield opened


def test_every_message_reaches_one_reader(tmp_path: Path) -> None:
    """kombu's own transport lets a reader take a message that is half written."""

    def write() -> None:
        with queue(tmp_path / "broker") as writer:
            for number in range(MESSAGES):
                writer.put({"number": number})

    def read() -> list[int]:
        taken: list[int] = []
        with queue(tmp_path / "broker") as reader:
            while True:
                try:
                    taken.append(reader.get(timeout=1.5).payload["number"])
                except Empty:
                    return taken

    with queue(tmp_path / "broker"), ThreadPoolExecutor(READERS + 1) as threads:
        readers = [threads.submit(read) for _ in range(READERS)]
        threads.submit(write).result()
        taken = [number for reader in readers for number in reader.result()]
    assert sorted(taken) == list(range(MESSAGES))
    assert list((tmp_path / "broker").glob("*.msg")) == list((tmp_path / "broker").glob(".*")) == []


def test_messages_come_in_order(tmp_path: Path) -> None:
    """The study that waits longest is worked on first."""
    with queue(tmp_path) as opened:
        for number in range(12):
            opened.put(number)
        assert [opened.get(timeout=1).payload for _ in range(12)] == list(range(12))


def test_a_reader_waits_as_long_as_it_says(tmp_path: Path) -> None:
    """One look at the folder is shorter than that; its end is no reason to give up."""
    with queue(tmp_path) as opened, ThreadPoolExecutor(1) as threads:
        later = threads.submit(opened.get, timeout=10)
        time.sleep(1)
        assert not later.done()
        opened.put("late")
        assert later.result().payload == "late"
        with pytest.raises(Empty):
            opened.get(timeout=0.5)


def test_a_look_is_short(tmp_path: Path) -> None:
    """Celery waits for messages in calls of two seconds, and notices only in between that it is to stop."""
    with queue(tmp_path) as opened:
        started = time.monotonic()
        opened.channel.connection.client.drain_events(timeout=60)
        assert time.monotonic() - started < 30


def test_a_spoilt_message_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A power cut can leave an empty file; the study in it is sent again by the sweeper."""
    (tmp_path / f"{0:020}_spoilt.studies.msg").touch()
    with queue(tmp_path) as opened:
        opened.put("whole")
        assert opened.get(timeout=1).payload == "whole"
    assert "message dropped" in caplog.text


def test_a_folder_that_is_gone_is_a_broker_that_is_down(tmp_path: Path) -> None:
    """Callers handle it as they handle any broker out of reach, and no draft is left behind."""
    with queue(tmp_path / "broker") as opened:
        (tmp_path / "broker").rmdir()
        with pytest.raises(OperationalError), opened.channel.connection.client._reraise_as_library_errors():
            opened.put("lost")
