"""From media to planes: the one door of this package."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hulumed_platform.imaging.types import Item, LeftOut, Limits, Media, PreparedPlane, TokenBudget

PREPROCESSING_VERSION = "hulumed-planes/1"


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a call's media become; the pixels are read only while `planes` runs."""

    items: tuple[Item, ...]
    left_out: tuple[LeftOut, ...]

    def planes(self) -> Iterator[PreparedPlane]:
        """Every plane, item by item; a few are in memory at a time. May be called again.

        Raises:
            ImagingError: pixels that cannot be decoded, or that took too long.
        """
        raise NotImplementedError


def prepare(media: Sequence[Media], *, limits: Limits, budget: TokenBudget, scratch: Path) -> Preparation:
    """Read headers and geometry, sort, plan the resize. No pixel is decoded yet.

    Args:
        media: what the request refers to, in its order; one medium may become several items (a DICOM study).
        limits: what the call may use.
        budget: visual tokens of the call.
        scratch: an existing folder for decompressed files; the caller removes it after the last pass over `planes`.

    Raises:
        ImagingError: input that is broken, unsupported, too large or too slow, or an option that does not apply.
    """
    raise NotImplementedError
