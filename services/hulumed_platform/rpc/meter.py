"""Measures what one request does in a stage, for its provenance, the metrics and the trace alike."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

from opentelemetry import trace

from hulumed_platform.core import metrics
from hulumed_platform.rpc.stream import Plane
from hulumed_platform.rpc.v1 import room_pb2, stage_pb2

_tracer = trace.get_tracer(__name__)
_T = TypeVar("_T")


class StageMeter:
    """A context manager around one request in one stage; it holds the span of the stage's own work.

    `busy_s` and `wait_s` may be added to from one thread each.
    """

    def __init__(self, room: room_pb2.RoomDescription) -> None:
        self._room = room
        self._started = time.monotonic()
        self._span = _tracer.start_span(f"{room.room} work")
        self.planes = 0
        self.rows_in = 0
        self.rows_out = 0
        self.bytes_out = 0
        self.busy_s = 0.0
        self.wait_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        metrics.STAGE_SECONDS.labels("busy").observe(self.busy_s)
        metrics.STAGE_SECONDS.labels("wait").observe(self.wait_s)
        self._span.set_attributes(
            {
                "hulumed.planes": self.planes,
                "hulumed.rows_in": self.rows_in,
                "hulumed.rows_out": self.rows_out,
                "hulumed.busy_s": self.busy_s,
                "hulumed.wait_s": self.wait_s,
            }
        )
        self._span.end()

    @property
    def wall_s(self) -> float:
        """Seconds since the request came."""
        return time.monotonic() - self._started

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Time own work."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.busy_s += time.monotonic() - started

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time a wait for the stage before."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.wait_s += time.monotonic() - started

    def worked(self, source: Iterable[_T]) -> Iterator[_T]:
        """The elements of `source`; the time it takes to make them is own work."""
        elements = iter(source)
        while True:
            with self.busy():
                try:
                    element = next(elements)
                except StopIteration:
                    return
            yield element

    def awaited(self, source: Iterable[_T]) -> Iterator[_T]:
        """The elements of `source`; the time until they come is a wait for the stage before."""
        elements = iter(source)
        while True:
            with self.waiting():
                try:
                    element = next(elements)
                except StopIteration:
                    return
            yield element

    def came_in(self, rows: int) -> None:
        """Count rows that entered the stage."""
        self.rows_in += rows
        metrics.ROWS_IN.inc(rows)

    def went_out(self, plane: Plane) -> None:
        """Count a plane that leaves the stage."""
        self.planes += 1
        self.rows_out += len(plane.rows)
        self.bytes_out += plane.rows.nbytes
        metrics.PLANES.inc()
        metrics.ROWS_OUT.inc(len(plane.rows))
        metrics.BYTES_OUT.inc(plane.rows.nbytes)

    def generated(self, tokens: int) -> None:
        """Count tokens of an answer."""
        self.rows_out += tokens
        metrics.ROWS_OUT.inc(tokens)

    def report(self) -> stage_pb2.StageReport:
        """The stage's part of the provenance, as it stands now."""
        return stage_pb2.StageReport(
            stage=self._room.room,
            version=self._room.version,
            weights_digest=self._room.weights_digest,
            device=self._room.device,
            dtype=self._room.dtype,
            planes=self.planes,
            rows_in=self.rows_in,
            rows_out=self.rows_out,
            bytes_out=self.bytes_out,
            wall_s=self.wall_s,
            busy_s=self.busy_s,
            wait_s=self.wait_s,
        )
