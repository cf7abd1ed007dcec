"""A streaming parser of multipart bodies (RFC 2046, section 5.1): bytes in as they come, parts out as they end.

It holds no more than the headers of a part and a boundary's length of data, whatever the size of the parts, and does
not care where the network cut the stream.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from enum import Enum, auto

from hulumed_platform.core.errors import ErrorCode, PlatformError

MAX_HEADER_BYTES = 16 * 1024
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part begins; its headers, names in lower case."""

    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class PartData:
    """Some bytes of the current part."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The current part is whole."""


Event = PartBegin | PartData | PartEnd


class _State(Enum):
    PREAMBLE = auto()
    DELIMITER = auto()
    HEADERS = auto()
    BODY = auto()
    EPILOGUE = auto()


def boundary_of(content_type: str) -> tuple[str, dict[str, str], bytes]:
    """Media type, parameters (names in lower case) and boundary of a multipart Content-Type header.

    Raises:
        PlatformError: INVALID_INPUT where the boundary is missing or not one of RFC 2046.
    """
    message = Message()
    message["content-type"] = content_type
    parameters = {name.lower(): str(value) for name, value in (message.get_params(failobj=[]) or [])[1:]}
    boundary = parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise malformed("the Content-Type header has no boundary of 1 to 70 characters of RFC 2046")
    return message.get_content_type(), parameters, boundary.encode("ascii")


def malformed(reason: str) -> PlatformError:
    """The error for a body or header that is no multipart."""
    return PlatformError(ErrorCode.INVALID_INPUT, f"malformed multipart request: {reason}")


class MultipartParser:
    """Feed it the body piece by piece; call `finish` at its end."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        # The first delimiter may stand at the very beginning, without a line before it.
        self._buffer = bytearray(b"\r\n")
        self._state = _State.PREAMBLE
        self._in_part = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield what the bytes so far make up.

        Raises:
            PlatformError: INVALID_INPUT for headers that are none.
        """
        self._buffer += data
        while (events := self._step()) is not None:
            yield from events

    def finish(self) -> None:
        """The body is at its end.

        Raises:
            PlatformError: INVALID_INPUT when the last boundary did not come: the body was cut off.
        """
        if self._state is _State.PREAMBLE:
            raise malformed("the boundary does not occur in the body")
        if self._state is not _State.EPILOGUE:
            raise malformed("the body ends before its last boundary; it was cut off on the way")

    def _step(self) -> list[Event] | None:
        """Do what can be done with the buffer; None when more bytes are needed."""
        match self._state:
            case _State.PREAMBLE | _State.BODY:
                return self._read_data()
            case _State.DELIMITER:
                return self._read_delimiter()
            case _State.HEADERS:
                return self._read_headers()
            case _State.EPILOGUE:
                self._buffer.clear()
                return None

    def _read_data(self) -> list[Event] | None:
        """Pass data on up to the next delimiter, or as far as none can begin."""
        found = self._buffer.find(self._delimiter)
        end = found if found >= 0 else len(self._buffer) - len(self._delimiter) + 1
        events: list[Event] = []
        if end > 0:
            if self._state is _State.BODY:
                events.append(PartData(bytes(self._buffer[:end])))
            del self._buffer[:end]
        if found >= 0:
            self._state = _State.DELIMITER
            return events
        return events or None

    def _read_delimiter(self) -> list[Event] | None:
        """Decide what follows the delimiter: another part, the end, or data that only looked like one."""
        after = self._buffer[len(self._delimiter) :]
        if after.startswith(b"--"):
            self._state = _State.EPILOGUE
            return self._end_part()
        line_end = after.find(b"\r\n")
        if line_end < 0:
            may_become_one = after == b"-" or not after.removesuffix(b"\r").strip(b" \t")
            return None if may_become_one and len(after) <= MAX_HEADER_BYTES else self._not_a_delimiter()
        if after[:line_end].strip(b" \t"):
            return self._not_a_delimiter()
        del self._buffer[: len(self._delimiter) + line_end]
        self._state = _State.HEADERS
        return self._end_part()

    def _not_a_delimiter(self) -> list[Event]:
        """A boundary may be the beginning of a longer line of data."""
        data = bytes(self._buffer[: len(self._delimiter)])
        del self._buffer[: len(self._delimiter)]
        self._state = _State.BODY if self._in_part else _State.PREAMBLE
        return [PartData(data)] if self._in_part else []

    def _end_part(self) -> list[Event]:
        ended: list[Event] = [PartEnd()] if self._in_part else []
        self._in_part = False
        return ended

    def _read_headers(self) -> list[Event] | None:
        """The buffer begins with the line end of the delimiter; headers end with an empty line."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEADER_BYTES:
                raise malformed(f"the headers of a part are longer than {MAX_HEADER_BYTES} bytes")
            return None
        headers = _headers(bytes(self._buffer[2 : end + 2]))
        del self._buffer[: end + 4]
        self._state = _State.BODY
        self._in_part = True
        return [PartBegin(headers)]


def _headers(block: bytes) -> dict[str, str]:
    for line in block.split(b"\r\n"):
        if line and b":" not in line and not line.startswith((b" ", b"\t")):
            raise malformed("a header line of a part has no colon")
    # Browsers and HTTP clients send names of files in UTF-8 (RFC 7578, section 5.1).
    parsed = HeaderParser().parsestr(block.decode("utf-8", errors="replace"))
    return {name.lower(): str(value) for name, value in parsed.items()}
