"""What the readers share during one call: limits, scratch space and the time left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.types import MEBIBYTE, Limits

EXPANSION_FREE_BYTES = 64 * MEBIBYTE
"""What any file may decode to, whatever its own size: blank pictures and masks compress a thousandfold."""


class Stopwatch:
    """Counts the seconds of work against a limit, but not those that a slow consumer takes."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._start_s = time.monotonic()

    def check(self) -> None:
        """Raise an `ImagingError` when the time is up."""
        if time.monotonic() - self._start_s > self._timeout_s:
            raise ImagingError(
                f"preparing took longer than timeout_s = {self._timeout_s:g} seconds. Ask for fewer planes.",
                kind="timeout",
            )

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Time inside does not count."""
        start_s = time.monotonic()
        try:
            yield
        finally:
            self._start_s += time.monotonic() - start_s


@dataclass(frozen=True, slots=True)
class Context:
    """Handed to every reader."""

    limits: Limits
    scratch: Path
    stopwatch: Stopwatch

    def check_plane(self, height_px: int, width_px: int, label: str) -> None:
        """Refuse planes without pixels and those above `max_plane_pixels`."""
        if height_px < 1 or width_px < 1:
            raise ImagingError(f"{label}: a plane of {width_px} x {height_px} pixels holds nothing. Export it again.")
        limit = self.limits.max_plane_pixels
        if height_px * width_px > limit:
            raise ImagingError(
                f"{label}: a plane has {width_px} x {height_px} pixels, more than max_plane_pixels = {limit}. "
                "Make it smaller first.",
                kind="too_large",
            )

    def check_expansion(self, decoded_bytes: int, encoded_bytes: int, label: str) -> None:
        """Refuse what decodes to far more than it came as."""
        limit = self.limits.max_expansion
        if decoded_bytes > max(EXPANSION_FREE_BYTES, limit * encoded_bytes):
            raise ImagingError(
                f"{label}: {encoded_bytes} bytes decode to {decoded_bytes} or more, over max_expansion = {limit:g}. "
                "Send it with less compression.",
                kind="too_large",
            )
