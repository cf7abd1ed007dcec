"""SIGTERM and SIGINT as something that the main thread can wait for."""

import os
import signal
from collections.abc import Callable


class StopSignals:
    """Notes the signals from now on. Made in the main thread.

    Only the main thread runs handlers, and one that waits on a lock does not wake when the system gave the signal to
    another thread. So it waits on a pipe, which Python writes to whichever thread got the signal.
    """

    def __init__(self, on_signal: Callable[[], None] = lambda: None) -> None:
        self._came = False
        self._on_signal = on_signal
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)  # as Python demands
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def wait(self) -> None:
        """Return once a signal has come; at once where one has come already."""
        while not self._came:
            os.read(self._reader, 1)

    def _handle(self, *_: object) -> None:
        self._came = True
        self._on_signal()
