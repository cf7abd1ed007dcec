"""The children that read, decode and draw instances: a few, kept warm, each with a limit of memory and of time."""

import json
import logging
import queue
import subprocess
import sys
from contextlib import suppress
from threading import Lock, Timer
from types import TracebackType
from typing import Any, Self

from hulumed_platform.core.errors import ErrorCode, PlatformError

log = logging.getLogger(__name__)

_RENDERER = "hulumed_platform.archive.renderer"


class Renderers:
    """Runs jobs of `archive.renderer` for many threads. A child starts with its first job and after one that killed it.

    Args:
        count: children, and so jobs at the same time.
        max_job_s: seconds that a job may wait for a child, and then take.
        max_memory_bytes: of a child.
    """

    def __init__(self, count: int, *, max_job_s: float, max_memory_bytes: int) -> None:
        self.count = count
        self._max_job_s = max_job_s
        self._children = [_Child(max_job_s, max_memory_bytes) for _ in range(count)]
        # The one that worked last goes first: the others need not start.
        self._free: queue.LifoQueue[_Child] = queue.LifoQueue()
        for child in self._children:
            self._free.put(child)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            child.stop()

    def run(self, job: str, **arguments: Any) -> dict[str, Any]:
        """Do one job and return its result; see the functions of `archive.renderer` for jobs and arguments.

        Raises:
            PlatformError: UNSUPPORTED where the instance cannot be read, decoded or drawn within the limits, NOT_FOUND
                for a frame or element that it does not have, BUSY when no child was free in time.
        """
        try:
            child = self._free.get(timeout=self._max_job_s)
        except queue.Empty:
            raise PlatformError(ErrorCode.BUSY, "too many pictures are asked for at the same time; try again") from None
        try:
            answer = child.run({"job": job, **arguments})
        finally:
            self._free.put(child)
        if "refused" in answer:
            code = ErrorCode.NOT_FOUND if answer["kind"] == "not_found" else ErrorCode.UNSUPPORTED
            raise PlatformError(code, answer["refused"])
        result: dict[str, Any] = answer["result"]
        return result


class _Child:
    """One process; used by one thread at a time."""

    def __init__(self, max_job_s: float, max_memory_bytes: int) -> None:
        self._max_job_s = max_job_s
        self._max_memory_bytes = max_memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = Lock()

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._process if self._process is not None and self._process.poll() is None else self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        watch = Timer(self._max_job_s, process.kill)
        watch.daemon = True
        watch.start()
        answer = b""
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
                answer = process.stdout.readline()
        finally:
            watch.cancel()
        if not answer.endswith(b"\n"):
            self.stop()
            # Not what it worked at: that may be a patient's.
            log.warning("a renderer died", extra={"job": request["job"], "exit_status": process.returncode})
            raise PlatformError(ErrorCode.UNSUPPORTED, "the instance is broken, or too large to be decoded here")
        read: dict[str, Any] = json.loads(answer)
        return read

    def stop(self) -> None:
        """End the process; the next job starts another."""
        with self._stopping:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.__exit__(None, None, None)

    def _start(self) -> subprocess.Popen[bytes]:
        self.stop()
        command = [sys.executable, "-m", _RENDERER, str(self._max_memory_bytes)]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        return self._process
