"""The one typed error of the platform. It crosses RPC intact and becomes HTTP or DICOM status in one place."""

import uuid
from enum import StrEnum


class ErrorCode(StrEnum):
    """What went wrong, coarse enough to act upon."""

    INVALID_INPUT = "invalid_input"
    """The request or its media are wrong; sending it again will not help."""
    UNSUPPORTED = "unsupported"
    """Well formed, but of a kind that the platform does not read."""
    TOO_LARGE = "too_large"
    """Over a limit; the message names the limit."""
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    """It exists already, with other content."""
    BUSY = "busy"
    """The room is full; wait and try again."""
    DEADLINE = "deadline"
    """The caller's time ran out."""
    CANCELLED = "cancelled"
    """The caller left."""
    UNAVAILABLE = "unavailable"
    """A room or a store cannot be reached, or is not ready yet."""
    WEIGHTS_MISMATCH = "weights_mismatch"
    """Two rooms hold parts of different checkpoints; another replica may match."""
    INTERNAL = "internal"
    """Anything else; the cause stands in the log under the correlation id."""


RETRYABLE = frozenset({ErrorCode.BUSY, ErrorCode.UNAVAILABLE, ErrorCode.WEIGHTS_MISMATCH})


class PlatformError(Exception):
    """An error that a user may see.

    Args:
        code: What went wrong.
        message: What is wrong, where, and how to mend it. Never patient data.
        retryable: Whether the same request may succeed later; by default told by the code.
        retry_after_s: When to try again, where known.
        correlation_id: Finds the cause in the logs; a new one unless the error came from another room.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
        correlation_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = code in RETRYABLE if retryable is None else retryable
        self.retry_after_s = retry_after_s
        self.correlation_id = correlation_id or uuid.uuid4().hex

    def __repr__(self) -> str:
        return f"PlatformError({self.code.value}: {self.message})"


def internal_error() -> PlatformError:
    """The error that hides an unexpected exception; its correlation id is to be logged with the cause."""
    error = PlatformError(ErrorCode.INTERNAL, "")
    error.message = f"internal error; the operator finds the cause in the logs under {error.correlation_id}"
    error.args = (error.message,)
    return error
