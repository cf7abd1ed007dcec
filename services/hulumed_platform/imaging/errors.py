"""The one error that bad input ends in."""

from typing import Literal, TypeAlias

ErrorKind: TypeAlias = Literal["invalid", "unsupported", "too_large", "timeout"]


class ImagingError(ValueError):
    """Input that cannot be prepared: what is wrong, where, and how to mend it.

    The message is safe to show: it names files by their label and never holds text that was read from a file.
    """

    def __init__(self, message: str, *, kind: ErrorKind = "invalid") -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
