"""The multipart parser: the same parts however the network cuts the stream, and no body passes that was cut off."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.gateway.multipart import (
    MAX_HEADER_BYTES,
    MultipartParser,
    PartBegin,
    PartData,
    PartEnd,
    boundary_of,
)

Parts = list[tuple[dict[str, str], bytes]]
BOUNDARY = b"b-1"
NASTY = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b"--", b"--b-1", b"\r\n--b-1", b"\r\n--b-", b"x", b"\0", b"--b-1--x"]),
    max_size=8,
).map(lambda pieces: b"".join(pieces) + b".")


def parse(pieces: list[bytes], boundary: bytes = BOUNDARY) -> Parts:
    """All parts of a whole body."""
    parser = MultipartParser(boundary)
    parts: Parts = []
    for piece in pieces:
        for event in parser.feed(piece):
            match event:
                case PartBegin(headers):
                    parts.append((headers, b""))
                case PartData(data):
                    parts[-1] = (parts[-1][0], parts[-1][1] + data)
                case PartEnd():
                    pass
    parser.finish()
    return parts


def body(*contents: bytes) -> bytes:
    parts = (b"--b-1\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n" for content in contents)
    return b"".join(parts) + b"--b-1--\r\n"


def is_data(content: bytes) -> bool:
    """A delimiter line inside the content would end the part; everything else is data."""
    lines = (b"\r\n" + content + b"\r\n").split(b"\r\n--b-1")[1:]
    return not any(line.startswith(b"--") or not line.split(b"\r\n")[0].strip(b" \t") for line in lines)


@example(contents=[b"\r\n--b-1\r\r\n."], cuts=[])
@example(contents=[b"\r\n--b-1-\r\n."], cuts=[50])
@given(
    contents=st.lists(NASTY.filter(is_data), min_size=1, max_size=3), cuts=st.lists(st.integers(0, 400), max_size=30)
)
def test_parts_do_not_depend_on_where_the_stream_is_cut(contents: list[bytes], cuts: list[int]) -> None:
    """A boundary split over two packets is still a boundary, and data that looks like one is still data."""
    whole = body(*contents)
    places = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    pieces = [whole[a:b] for a, b in pairwise(places)]
    assert [data for _, data in parse(pieces)] == contents


@given(st.binary(max_size=300))
def test_garbage_ends_in_the_typed_error(data: bytes) -> None:
    """Nothing that comes over the network may surprise the door."""
    with pytest.raises(PlatformError, match="malformed multipart"):
        parse([data.replace(BOUNDARY, b"")])


def test_preamble_epilogue_padding_and_extra_headers_are_fine() -> None:
    """All of them are allowed by RFC 2046 and sent by real peers."""
    sent = (
        b"for old readers\r\n--b-1 \t\r\nContent-ID: <1>\r\nCONTENT-TYPE: application/dicom;transfer-syntax=1.2\r\n"
        b"X-Folded: a\r\n b\r\n\r\ndata\r\n--b-1\r\n\r\nbare\r\n--b-1--\r\nepilogue --b-1 more"
    )
    (headers, data), (bare, rest) = parse([sent])
    assert headers["content-type"] == "application/dicom;transfer-syntax=1.2"
    assert (data, bare, rest) == (b"data", {}, b"bare")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "the boundary does not occur"),
        (b"--b-1\r\n\r\ndata", "ends before its last boundary"),
        (b"--b-1\r\n\r\ndata\r\n--b-1\r\n", "ends before its last boundary"),
        (b"--b-1\r\nno colon\r\n\r\n", "has no colon"),
        (b"--b-1\r\nA: " + b"x" * MAX_HEADER_BYTES, "headers of a part are longer"),
    ],
)
def test_broken_body_says_what_is_wrong(sent: bytes, reason: str) -> None:
    """A body that was cut off must not pass as a shorter study."""
    with pytest.raises(PlatformError, match=reason):
        parse([sent])


def test_memory_does_not_grow_with_a_part() -> None:
    """A part of gigabytes streams through a buffer of a few bytes."""
    parser = MultipartParser(BOUNDARY)
    list(parser.feed(b"--b-1\r\n\r\n"))
    for _ in range(50):
        list(parser.feed(b"\0" * 100_000))
        assert len(parser._buffer) < 100


@pytest.mark.parametrize(
    "header",
    [
        'multipart/related; type="application/dicom"; boundary=b-1',
        'Multipart/Related;BOUNDARY="b-1";TYPE=application/dicom',
        "multipart/related;boundary=b-1;type=application/dicom;start=x",
    ],
)
def test_content_type_in_any_spelling(header: str) -> None:
    """Parameters come quoted or not, in any order and case, with or without spaces."""
    media_type, parameters, boundary = boundary_of(header)
    assert (media_type, parameters["type"], boundary) == ("multipart/related", "application/dicom", b"b-1")


@pytest.mark.parametrize("boundary", ["", '"ends with space "', "x" * 71, "'b'\"é\""])
def test_boundary_that_is_none_is_refused(boundary: str) -> None:
    """RFC 2046 allows 1 to 70 characters of a fixed set."""
    with pytest.raises(PlatformError, match="no boundary of 1 to 70"):
        boundary_of(f"multipart/related; boundary={boundary}")
