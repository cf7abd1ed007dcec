"""A small language to say which studies and series are meant: `Modality == 'CT' and SliceThickness <= 3`.

It reads like Python and is parsed by Python, but nothing of it runs as Python: only the forms below are known, there
are no loops, no calls of anything else, and no regular expressions, so an expression costs no more than its length
times the values that it looks at.

* An attribute may have several values, of one image or of many; a comparison holds when one of them fits.
* A comparison with an attribute that is missing is neither true nor false, and neither is its `not`. What is not true
  does not match, so no study goes anywhere because something is unknown of it; `present(X)` asks.
"""

import ast
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from hulumed_platform.archive.rules.names import KINDS, Kind, fault_of

Value = str | float
Truth = bool | None
"""None: it is not known."""

_MAX_CHARS = 1000
_MAX_DEPTH = 30
_MAX_PATTERN_CHARS = 100
_MAX_SHOWN = 5
_MAX_NUMBER = 1e30
_FORMS = "use and, or, not, ==, !=, <, <=, >, >=, in, like(), present() and any_series()"


class Scope(Protocol):
    """What an expression is asked of: a study or a series."""

    def values(self, name: str) -> Sequence[Value]:
        """Every value of an attribute; none where it is missing."""

    @property
    def series(self) -> "Sequence[Scope]":
        """The series of a study; of a series, itself."""


class ExpressionError(ValueError):
    """What is wrong with an expression, and at which column (from 1)."""


class Node(Protocol):
    """A part of an expression."""

    @property
    def text(self) -> str:
        """The part as it would be written."""

    def truth(self, scope: Scope) -> Truth:
        """Whether it holds."""

    def why_not(self, scope: Scope) -> Iterator[str]:
        """Why it does not hold, part by part, where it does not."""


@dataclass(frozen=True)
class Expression:
    """An expression that was checked; it raises nothing any more."""

    source: str
    node: Node
    names: frozenset[str]

    def holds(self, scope: Scope) -> bool:
        """Whether it is true; what is not known is not true."""
        return self.node.truth(scope) is True

    def why_not(self, scope: Scope) -> list[str]:
        """The parts that are in the way, with the values that they met. The values may be a patient's."""
        return list(self.node.why_not(scope))

    def __str__(self) -> str:
        return self.source


def parse(source: str) -> Expression:
    """Check an expression and make it ready.

    Raises:
        ExpressionError: It is malformed, too long, speaks of an unknown name, or compares text with a number.
    """
    source = source.replace("\n", " ").strip()
    if len(source) > _MAX_CHARS:
        raise ExpressionError(f"the expression has {len(source)} characters; {_MAX_CHARS} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes like \d, which stay as they are
            tree = ast.parse(source, mode="eval")
    except SyntaxError as error:
        raise ExpressionError(f"column {error.offset or 1}: {error.msg}") from None
    except (ValueError, MemoryError, RecursionError):
        raise ExpressionError("the expression is nested too deeply or holds NUL") from None
    builder = _Builder()
    return Expression(source, builder.build(tree.body), frozenset(builder.names))


@dataclass(frozen=True)
class _Always:
    value: bool

    @property
    def text(self) -> str:
        return str(self.value)

    def truth(self, scope: Scope) -> Truth:  # noqa: ARG002 - the same of every study
        return self.value

    def why_not(self, scope: Scope) -> Iterator[str]:  # noqa: ARG002
        if not self.value:
            yield "it never matches"


@dataclass(frozen=True)
class _Test:
    """One attribute, and a test of one value of it. `negated` is true when every value fails."""

    text: str
    name: str
    fits: Callable[[Value], bool]
    negated: bool = False

    def truth(self, scope: Scope) -> Truth:
        values = scope.values(self.name)
        if not values:
            return None
        return any(map(self.fits, values)) is not self.negated

    def why_not(self, scope: Scope) -> Iterator[str]:
        truth = self.truth(scope)
        if truth is None:
            yield f"{self.text}: {self.name} is missing"
        elif not truth:
            yield f"{self.text}: {self.name} is {_shown(scope.values(self.name))}"


@dataclass(frozen=True)
class _Present:
    text: str
    name: str

    def truth(self, scope: Scope) -> Truth:
        return bool(scope.values(self.name))

    def why_not(self, scope: Scope) -> Iterator[str]:
        if not self.truth(scope):
            yield f"{self.text}: {self.name} is missing"


@dataclass(frozen=True)
class _AnySeries:
    text: str
    inner: Node

    def truth(self, scope: Scope) -> Truth:
        return _any(self.inner.truth(series) for series in scope.series)

    def why_not(self, scope: Scope) -> Iterator[str]:
        if not self.truth(scope):
            yield f"{self.text}: no series of {len(scope.series)}"


@dataclass(frozen=True)
class _Not:
    text: str
    inner: Node

    def truth(self, scope: Scope) -> Truth:
        truth = self.inner.truth(scope)
        return None if truth is None else not truth

    def why_not(self, scope: Scope) -> Iterator[str]:
        truth = self.truth(scope)
        if truth is None:
            yield from self.inner.why_not(scope)
        elif not truth:
            yield f"{self.text}: it is so"


@dataclass(frozen=True)
class _Together:
    """All of several parts (`and`), or one of them (`or`)."""

    text: str
    parts: tuple[Node, ...]
    all: bool

    def truth(self, scope: Scope) -> Truth:
        truths = (part.truth(scope) for part in self.parts)
        if self.all:
            found = _any(None if truth is None else not truth for truth in truths)
            return None if found is None else not found
        return _any(truths)

    def why_not(self, scope: Scope) -> Iterator[str]:
        if not self.truth(scope):
            for part in self.parts:
                yield from part.why_not(scope)


def _any(truths: Iterator[Truth]) -> Truth:
    """Kleene's `or`: true where one is true, unknown where none is but one may be."""
    unknown = False
    for truth in truths:
        if truth:
            return True
        unknown = unknown or truth is None
    return None if unknown else False


def _shown(values: Sequence[Value]) -> str:
    more = f" and {len(values) - _MAX_SHOWN} more" if len(values) > _MAX_SHOWN else ""
    return ", ".join(f"{value:g}" if isinstance(value, float) else repr(value) for value in values[:_MAX_SHOWN]) + more


_ORDER: Mapping[type[ast.cmpop], Callable[[Value, Value], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.eq,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_NEGATED = (ast.NotEq, ast.NotIn)


class _Builder:
    """Turns Python's syntax tree into ours, or says what has no place in it."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def build(self, node: ast.expr, depth: int = 1) -> Node:
        if depth > _MAX_DEPTH:
            raise _fault(node, f"it is nested more than {_MAX_DEPTH} deep")
        match node:
            case ast.BoolOp():
                parts = tuple(self.build(part, depth + 1) for part in node.values)
                return _Together(ast.unparse(node), parts, isinstance(node.op, ast.And))
            case ast.UnaryOp(op=ast.Not()):
                return _Not(ast.unparse(node), self.build(node.operand, depth + 1))
            case ast.Constant(value=bool() as value):
                return _Always(value)
            case ast.Compare():
                return self._comparison(node)
            case ast.Call():
                return self._call(node, depth)
            case ast.Name():
                raise _fault(node, f"{node.id} alone says nothing; compare it, or write present({node.id})")
        raise _fault(node, f"this is not understood; {_FORMS}")

    def _comparison(self, node: ast.Compare) -> Node:
        if len(node.ops) > 1:
            raise _fault(node, "compare two things at a time, and join comparisons by and")
        name = self._name(node.left)
        op, right = node.ops[0], node.comparators[0]
        text = ast.unparse(node)
        if isinstance(op, ast.In | ast.NotIn):
            allowed = self._list(name, right)
            return _Test(text, name, lambda value: value in allowed, isinstance(op, _NEGATED))
        compare = _ORDER.get(type(op))
        if compare is None:
            raise _fault(node, f"this comparison is not understood; {_FORMS}")
        wanted = self._literal(name, right)
        return _Test(text, name, lambda value: compare(value, wanted), isinstance(op, _NEGATED))

    def _call(self, node: ast.Call, depth: int) -> Node:
        text = ast.unparse(node)
        match node:
            case ast.Call(func=ast.Name(id="present"), args=[inner], keywords=[]):
                return _Present(text, self._name(inner))
            case ast.Call(func=ast.Name(id="any_series"), args=[inner], keywords=[]):
                return _AnySeries(text, self.build(inner, depth + 1))
            case ast.Call(func=ast.Name(id="like"), args=[left, right], keywords=[]):
                name = self._name(left)
                return _Test(text, name, _wildcards(self._pattern(name, right)))
        raise _fault(node, "the functions are like(Name, 'pattern'), present(Name) and any_series(expression)")

    def _name(self, node: ast.expr) -> str:
        if not isinstance(node, ast.Name):
            raise _fault(node, "a DICOM keyword, like Modality, is needed here")
        if fault := fault_of(node.id):
            raise _fault(node, fault)
        self.names.add(node.id)
        return node.id

    def _list(self, name: str, node: ast.expr) -> frozenset[Value]:
        if not isinstance(node, ast.List | ast.Tuple | ast.Set):
            raise _fault(node, "a list, like ['CT', 'MR'], is needed after in")
        return frozenset(self._literal(name, item) for item in node.elts)

    def _literal(self, name: str, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=str() as text) if KINDS[name] is Kind.TEXT:
                return text
            case ast.Constant(value=int() | float()) if KINDS[name] is Kind.NUMBER:
                return _number(node)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant() as operand) if KINDS[name] is Kind.NUMBER:
                return -_number(operand)
        needed = "a number" if KINDS[name] is Kind.NUMBER else "text in quotes"
        raise _fault(node, f"{name} can only be compared with {needed}")

    def _pattern(self, name: str, node: ast.expr) -> str:
        pattern = self._literal(name, node)
        if not isinstance(pattern, str):
            raise _fault(node, f"{name} is a number; like() is for text")
        if len(pattern) > _MAX_PATTERN_CHARS:
            raise _fault(node, f"a pattern may have {_MAX_PATTERN_CHARS} characters")
        return pattern


def _number(node: ast.Constant) -> float:
    if isinstance(node.value, int | float) and not isinstance(node.value, bool) and abs(node.value) <= _MAX_NUMBER:
        return float(node.value)
    raise _fault(node, "a number is needed here")


def _wildcards(pattern: str) -> Callable[[Value], bool]:
    """Matching of DICOM (PS3.4, section C.2.2.2.4), whatever the case: `*` any characters, `?` one."""
    escaped = pattern.casefold().replace("[", "[[]")
    return lambda value: fnmatchcase(str(value).casefold(), escaped)


def _fault(node: ast.expr, message: str) -> ExpressionError:
    return ExpressionError(f"column {node.col_offset + 1}: {message}")
