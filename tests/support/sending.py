"""Senders as a PACS is one: they send again what was not acknowledged, until it is."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tests.support.edge import Edge

Send = Callable[[Edge, bytes], bool]
"""Sends one instance once; whether it was acknowledged."""

_PAUSE_S = 0.03
_AGAIN_S = 0.1


def by_c_store(edge: Edge, contents: bytes) -> bool:
    """One association, one C-STORE."""
    return edge.c_store(contents) == [0x0000]


def by_stow(edge: Edge, contents: bytes) -> bool:
    """One request of STOW-RS."""
    try:
        return edge.stow(contents).status_code == 200
    except httpx.HTTPError:
        return False


@dataclass
class Sender:
    """Sends what it is given, one after the other, in a thread of its own; notes what was acknowledged."""

    edge: Edge
    send: Send
    instances: Iterator[tuple[str, bytes]]
    """SOP Instance UIDs and the files."""
    acknowledged: dict[str, bytes] = field(default_factory=dict)
    num_again: int = 0
    error: BaseException | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Send until told to stop; the last instance is acknowledged even then."""
        try:
            for uid, contents in self.instances:
                while not self.send(self.edge, contents):
                    self.num_again += 1
                    time.sleep(_AGAIN_S)
                self.acknowledged[uid] = contents
                if self._stop.wait(_PAUSE_S):
                    return
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            self.error = error

    def stop(self) -> None:
        """Begin no other instance."""
        self._stop.set()


@contextmanager
def sending(senders: Iterable[Sender], *, timeout_s: float) -> Iterator[None]:
    """Let senders send while the block runs, and wait until all they began is acknowledged."""
    senders = list(senders)
    threads = [threading.Thread(target=sender.run, daemon=True) for sender in senders]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for sender in senders:
            sender.stop()
        for thread in threads:
            thread.join(timeout_s)
    assert not any(thread.is_alive() for thread in threads), "an instance is still not acknowledged"
    for sender in senders:
        if sender.error is not None:
            raise sender.error
