"""The platform's error: what is retryable follows from the code, and internals stay inside."""

import pytest

from hulumed_platform.core.errors import ErrorCode, PlatformError, internal_error


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        (ErrorCode.BUSY, True),
        (ErrorCode.UNAVAILABLE, True),
        (ErrorCode.WEIGHTS_MISMATCH, True),
        (ErrorCode.INVALID_INPUT, False),
        (ErrorCode.INTERNAL, False),
    ],
)
def test_code_tells_whether_a_retry_makes_sense(code: ErrorCode, retryable: bool) -> None:
    """Bad input never is sent again by machines; a full room is."""
    assert PlatformError(code, "…").retryable is retryable


def test_internal_error_tells_only_where_to_look() -> None:
    """A message of an unknown exception may hold patient data; the user gets the correlation id instead."""
    error = internal_error()
    assert error.correlation_id in error.message
    assert str(error) == error.message
