"""Fields of a JSON file that came with a checkpoint, each checked when it is read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from hulumed_platform.model.errors import CheckpointError
from hulumed_platform.model.weights import read_json

_T = TypeVar("_T")

MOST = 2**31 - 1
"""Larger numbers are no sizes of a model."""


class Fields:
    """A JSON object, in which null is as good as absent.

    A field that is absent and has no default, or that is not what it should be, raises CheckpointError.
    """

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        self.path = path
        self.values = values

    @classmethod
    def read(cls, path: Path) -> "Fields":
        """The object that a file holds."""
        return cls(path, read_json(path))

    def size(self, name: str, default: int | None = None, *, most: int = MOST) -> int:
        """A whole number from 1 to `most`."""
        value: int = self._typed(name, default, int, "a whole number")
        if not 1 <= value <= most:
            raise self._wrong(name, f"a whole number from 1 to {most}")
        return value

    def whole(self, name: str, default: int) -> int:
        """A whole number."""
        return self._typed(name, default, int, "a whole number")

    def number(self, name: str, default: float) -> float:
        """A number."""
        return float(self._typed(name, default, (int, float), "a number"))

    def numbers(self, name: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """As many numbers as the default has."""
        values = self._typed(name, default, (list, tuple), "a list of numbers")
        if len(values) != len(default) or not all(_is(value, (int, float)) for value in values):
            raise self._wrong(name, f"{len(default)} numbers")
        return tuple(float(value) for value in values)

    def flag(self, name: str, *, default: bool) -> bool:
        """true or false."""
        return self._typed(name, default, bool, "true or false")

    def text(self, name: str, default: str) -> str:
        """A text."""
        return self._typed(name, default, str, "a text")

    def part(self, name: str) -> "Fields | None":
        """An object inside this one; None where there is none, or an empty one."""
        values = self.values.get(name)
        if values and not isinstance(values, dict):
            raise self._wrong(name, "an object")
        return Fields(self.path, values) if values else None

    def parts(self, name: str) -> "list[Fields]":
        """A list of objects; empty where there is none."""
        values: list[Any] = self._typed(name, [], list, "a list of objects")
        if not all(isinstance(value, dict) for value in values):
            raise self._wrong(name, "a list of objects")
        return [Fields(self.path, value) for value in values]

    def _typed(self, name: str, default: _T | None, types: Any, kind: str) -> _T:
        value = self.values.get(name)
        if value is None:
            value = default
        if value is None:
            raise CheckpointError(f"{self.path} lacks the field {name!r}")
        if not _is(value, types):
            raise self._wrong(name, kind)
        checked: _T = value
        return checked

    def _wrong(self, name: str, kind: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: the field {name!r} must be {kind}, not {self.values.get(name)!r}"[:500])


def _is(value: object, types: Any) -> bool:
    """bool is an int in Python and is none in JSON."""
    return isinstance(value, types) and (types is bool or not isinstance(value, bool))
