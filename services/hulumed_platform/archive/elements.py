"""Walks the data elements of a DICOM data set over their values (PS3.5, section 7), which stay unread.

Memory does not depend on the file, however hostile. A file that was cut off shows: something reaches beyond its end.
"""

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import BinaryIO

_UNDEFINED_LENGTH = 0xFFFFFFFF
_DELIMITER_GROUP = 0xFFFE
_DELIMITERS = (0xFFFEE00D, 0xFFFEE0DD)
"""The ends of an item and of a sequence of undefined length (section 7.5)."""
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
"""Value representations with two reserved bytes and a length of four (table 7.1-1)."""


class CutOffError(Exception):
    """The data set goes on beyond the end of its file."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its tag as one number, and where its value is."""

    tag: int
    vr: bytes
    """Empty for implicit VR."""
    start: int
    length: int | None
    """None = undefined: items follow, and a delimiter."""


class Elements:
    """The elements from where the file stands, up to one of the tags in `last` or the end of the file.

    `order` is "<" or ">" for little or big endian.
    """

    def __init__(self, file: BinaryIO, size_bytes: int, order: str, *, last: Collection[int] = ()) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._order = order
        self._last = last
        # Looked at, not taken from the transfer syntax: devices send one and claim the other.
        self.implicit = not _is_vr(self._peek(8)[4:6])

    def __iter__(self) -> Iterator[Element]:
        """Yield the elements of the first level; between two of them the file may be moved.

        Raises:
            CutOffError: The file ends inside one of them.
        """
        while (element := self._next(implicit=self.implicit)) is not None:
            yield element
            self._file.seek(element.start)
            self._skip(element)
            if element.tag in self._last:
                return

    def _skip(self, element: Element) -> None:
        if element.length is not None:
            self._pass(element.length)
            return
        implicit = self.implicit or element.vr == b"UN"  # section 6.2.2: what is in it is implicit
        depth = 1
        while depth:
            inner = self._next(implicit=implicit)
            if inner is None:
                raise CutOffError
            if inner.length is None:
                depth += 1
            elif inner.tag in _DELIMITERS:
                depth -= 1
            else:
                self._pass(inner.length)

    def _next(self, *, implicit: bool) -> Element | None:
        head = self._file.read(8)
        if len(head) < 8:
            if head.strip(b"\0"):
                raise CutOffError
            return None  # the end, or a byte of padding before it
        group, number, length = struct.unpack(f"{self._order}HHI", head)
        vr = head[4:6] if group != _DELIMITER_GROUP and not implicit and _is_vr(head[4:6]) else b""
        if vr in _LONG_VRS:
            (length,) = struct.unpack(f"{self._order}I", self._exactly(4))
        elif vr:
            (length,) = struct.unpack(f"{self._order}H", head[6:])
        known = None if length == _UNDEFINED_LENGTH else length
        return Element(group << 16 | number, vr, self._file.tell(), known)

    def _pass(self, length: int) -> None:
        if self._file.tell() + length > self._size_bytes:
            raise CutOffError
        self._file.seek(length, 1)

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise CutOffError
        return data

    def _peek(self, count: int) -> bytes:
        start = self._file.tell()
        data = self._file.read(count)
        self._file.seek(start)
        return data


def _is_vr(code: bytes) -> bool:
    return len(code) == 2 and code.isalpha() and code.isupper()
