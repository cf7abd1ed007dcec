"""The disks that instances go to, and whether there is room left on them."""

import shutil
from collections.abc import Iterable
from pathlib import Path


class Disks:
    """Looks at the disks under some folders.

    Args:
        folders: must exist.
        max_used: above this used part of any of the disks, 0 to 1, nothing more is to be taken.
    """

    def __init__(self, folders: Iterable[Path], *, max_used: float) -> None:
        self._folders = tuple(folders)
        self._max_used = max_used

    def used(self) -> float:
        """The used part of the fullest disk, 0 to 1; what only root may use counts as used."""
        usages = (shutil.disk_usage(folder) for folder in self._folders)
        return max(1 - usage.free / usage.total for usage in usages)

    def are_full(self) -> bool:
        """Whether to refuse instances for now."""
        return self.used() > self._max_used
