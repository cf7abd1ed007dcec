"""How a check ends: it returns what came back, or raises one of these with it."""


class VerdictError(Exception):
    """Ends a check; the text is what came back."""


class DeviationError(VerdictError):
    """The server breaks a rule of the standard, or loses data."""


class DoubtError(VerdictError):
    """Allowed, or open to reading, but trouble for its peers."""


class NotOfferedError(VerdictError):
    """What the check is about is not there, so it cannot be checked."""


def require(condition: bool, got: object) -> None:
    """Fail the check unless the condition holds."""
    if not condition:
        raise DeviationError(str(got))


def advise(condition: bool, got: object) -> None:
    """Warn unless the condition holds."""
    if not condition:
        raise DoubtError(str(got))


def offered(condition: bool, got: object) -> None:
    """Skip the check unless the condition holds."""
    if not condition:
        raise NotOfferedError(str(got))
