"""Bodies of multipart/related (RFC 2387), written with full control over every byte, and read."""

from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser

from hulumed_platform.dicomweb_check.server import Answer
from hulumed_platform.dicomweb_check.verdict import DeviationError

BOUNDARY = "dicomweb-check-5f1c"
PART_HEADER = "Content-Type: application/dicom"
CONTENT_TYPE = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an answer."""

    content_type: str
    content: bytes


def related(parts: Iterable[bytes], *, boundary: str = BOUNDARY, header: str = PART_HEADER) -> bytes:
    """A body of parts that all have the same header lines, which may be none."""
    lines = [f"--{boundary}", *([header] if header else []), "", ""]
    begin = "\r\n".join(lines).encode()
    return b"".join(begin + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()


def read_parts(answer: Answer) -> list[Part]:
    """The parts of an answer.

    Raises:
        DeviationError: it is no multipart/related, or its last boundary is missing.
    """
    message = Message()
    message["content-type"] = answer.headers.get("content-type", "")
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/related" or not isinstance(boundary, str):
        raise DeviationError(
            f"{answer.status} {answer.headers.get('content-type')}: no multipart/related with a boundary"
        )
    delimiter = b"\r\n--" + boundary.encode()
    _, *pieces = (b"\r\n" + answer.body).split(delimiter)
    if not pieces or not pieces[-1].startswith(b"--"):
        raise DeviationError(f"{answer.status}: the multipart body does not end with its last boundary")
    return [_part(piece) for piece in pieces[:-1]]


def _part(piece: bytes) -> Part:
    head, _, content = piece.partition(b"\r\n\r\n")
    headers = BytesHeaderParser().parsebytes(head.lstrip(b" \t\r\n"))
    return Part(str(headers.get("content-type", "")), content)
