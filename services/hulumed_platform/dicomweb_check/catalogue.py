"""All checks, in the order in which they run."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from hulumed_platform.dicomweb_check import (
    commitment,
    qido,
    stow_body,
    stow_duplicates,
    stow_parsing,
    stow_status,
    stow_transport,
    ups,
    ups_state,
    wado,
    wado_rendered,
)
from hulumed_platform.dicomweb_check.suite import Check

_MODULES = (
    stow_status, stow_body, stow_parsing, stow_transport, stow_duplicates, qido, wado, wado_rendered, ups, ups_state,
    commitment,
)  # fmt: skip
CATALOGUE: tuple[Check, ...] = tuple(check for module in _MODULES for check in module.SUITE)


def select(names: Sequence[str]) -> list[Check]:
    """The checks of these names, which may have wildcards, as in `stow-*`.

    Raises:
        ValueError: a name matches none; the message says which.
    """
    for name in names:
        if not any(fnmatchcase(check.name, name) for check in CATALOGUE):
            raise ValueError(f"there is no check {name!r}; --list shows all")
    return [check for check in CATALOGUE if any(fnmatchcase(check.name, name) for name in names)]
