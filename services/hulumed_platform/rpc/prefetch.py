"""Reads ahead: the next planes come in while the current one is worked on."""

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from hulumed_platform.core import metrics

_T = TypeVar("_T")


class Prefetch(Generic[_T]):
    """Iterates `source` on a thread of its own, never more than `depth` elements ahead of the reader.

    An error of the source reaches the reader in its place. Use it as a context manager: leaving it calls `stop`, which
    must unblock the source, and waits until the source is left alone.
    """

    def __init__(self, source: Iterable[_T], depth: int, stop: Callable[[], object] = lambda: None) -> None:
        self._source = source
        self._depth = depth
        self._stop = stop
        self._ready: deque[_T] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._closed = False
        self._error: BaseException | None = None
        context = contextvars.copy_context()  # spans of the source belong to the trace of the request
        self._thread = threading.Thread(target=context.run, args=(self._read,), name="prefetch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._stop()
        self._thread.join()
        metrics.PLANES_AHEAD.dec(len(self._ready))

    def __iter__(self) -> Iterator[_T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ready or self._ended)
                if not self._ready:
                    break
                element = self._ready.popleft()
                self._changed.notify_all()
            metrics.PLANES_AHEAD.dec()
            yield element
        if self._error is not None:
            raise self._error

    def _read(self) -> None:
        try:
            elements = iter(self._source)
            while self._has_room():
                try:
                    element = next(elements)
                except StopIteration:
                    break
                self._put(element)
        except BaseException as error:  # noqa: BLE001 - the outermost frame of the thread: the reader raises it
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _has_room(self) -> bool:
        """Wait until an element may be read; False once nobody wants one."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._ready) < self._depth)
            return not self._closed

    def _put(self, element: _T) -> None:
        metrics.PLANES_AHEAD.inc()
        with self._changed:
            self._ready.append(element)
            self._changed.notify_all()
