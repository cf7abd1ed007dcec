"""Answers of several parts are taken apart exactly, or not at all."""

import httpx
import pytest

from hulumed_platform.dicomweb_check.multipart import BOUNDARY, CONTENT_TYPE, read_parts, related
from hulumed_platform.dicomweb_check.server import Answer
from hulumed_platform.dicomweb_check.verdict import DeviationError


def answer(body: bytes, content_type: str = CONTENT_TYPE) -> Answer:
    return Answer(200, httpx.Headers({"Content-Type": content_type}), body)


def test_what_is_written_is_read() -> None:
    """Line breaks at the ends of the content are content."""
    parts = [b"", b"\r\n", b"\r\n\r\nabc\r\n", b"x" * 1000]
    assert [part.content for part in read_parts(answer(related(parts)))] == parts


def test_preamble_headers_and_quotes_are_read() -> None:
    """Servers write them in many ways."""
    body = b"preamble\r\n" + related([b"abc"], header="content-TYPE: application/dicom; a=b\r\nX-Y: z") + b"epilogue"
    (part,) = read_parts(answer(body, CONTENT_TYPE.replace(BOUNDARY, f'"{BOUNDARY}"')))
    assert (part.content_type, part.content) == ("application/dicom; a=b", b"abc")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (related([b"abc"])[:-6], CONTENT_TYPE),
        (b"abc", CONTENT_TYPE),
        (related([b"abc"]), "application/dicom"),
        (related([b"abc"]), "multipart/related"),
    ],
    ids=["cut off", "no boundary in it", "another type", "no boundary parameter"],
)
def test_what_is_no_whole_multipart_is_a_deviation(body: bytes, content_type: str) -> None:
    """Half an answer must not pass as fewer instances."""
    with pytest.raises(DeviationError):
        read_parts(answer(body, content_type))
