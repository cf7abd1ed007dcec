"""Something that is done again and again on a thread of its own."""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from hulumed_platform.core import metrics
from hulumed_platform.core.errors import PlatformError, internal_error

log = logging.getLogger(__name__)


class Periodic:
    """Calls `action` at once and then every `interval_s` while the block runs; a failure waits for the next time."""

    def __init__(self, name: str, action: Callable[[], None], interval_s: float) -> None:
        self._name = name
        self._action = action
        self._interval_s = interval_s
        self._fault: PlatformError | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def check(self) -> None:
        """Raise what went wrong the last time, if anything did."""
        if self._fault is not None:
            raise self._fault

    def stop(self) -> None:
        """Call the action no more; what it does now it may finish."""
        self._stopping.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._fault = self._do()
            self._stopping.wait(self._interval_s)

    def _do(self) -> PlatformError | None:
        try:
            self._action()
        except PlatformError as error:
            log.warning("%s put off: %s", self._name, error.message, extra={"code": error.code.value})
            fault = error
        except Exception:  # the outermost loop of the thread: it must outlive a fault of ours
            fault = internal_error()
            log.exception("%s failed", self._name, extra={"correlation_id": fault.correlation_id})
        else:
            return None
        metrics.PERIODIC_FAILURES.labels(self._name).inc()
        return fault
