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
        self.timeout_s = timeout_s
        self._start_s = time.monotonic()

    def check(self) -> None:
        """Raise an `ImagingError` when the time is up."""
        if time.monotonic() - self._start_s > self.timeout_s:
            raise ImagingError(
                f"preparing took longer than timeout_s = {self.timeout_s:g} seconds. Ask for fewer planes.",
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


class ScratchSpace:
    """Counts what one call writes to scratch: a hundred small files may decompress to a full disk."""

    def __init__(self, max_total_bytes: int) -> None:
        self._max_total_bytes = max_total_bytes
        self._written = 0

    def take(self, num_bytes: int, label: str) -> None:
        """Raise an `ImagingError` when this is more than is left."""
        self._written += num_bytes
        if self._written > self._max_total_bytes:
            raise ImagingError(
                f"{label}: decompressed, the files of the request have more than max_total_bytes = "
                f"{self._max_total_bytes}. Send fewer.",
                kind="too_large",
            )


@dataclass(frozen=True, slots=True)
class Context:
    """Handed to every reader."""

    limits: Limits
    scratch: Path
    scratch_space: ScratchSpace
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

    def check_inflated(self, decoded_bytes: int, encoded_bytes: int, label: str) -> None:
        """Refuse a decompressed file that is over `max_bytes` or far larger than it came."""
        self.check_expansion(decoded_bytes, encoded_bytes, label)
        if decoded_bytes > self.limits.max_bytes:
            raise ImagingError(
                f"{label} decompresses to more than max_bytes = {self.limits.max_bytes}. Send a smaller one.",
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
