"""How a job ends that cannot be done."""


class RefusedError(Exception):
    """Why not, in words for a user: never a value of the file. `kind` is `unreadable` or `not_found`."""

    def __init__(self, message: str, kind: str = "unreadable") -> None:
        super().__init__(message)
        self.kind = kind
