"""Accept headers as clients really write them."""

import pytest
from fastapi import HTTPException, Request
from hypothesis import given
from hypothesis import strategies as st

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.gateway.dicomweb.accept import accepted, require_json


def request(accept: str, query: str = "") -> Request:
    headers = [(b"accept", accept.encode("latin-1", "replace"))]
    return Request({"type": "http", "headers": headers, "query_string": query.encode()})


def test_quotes_commas_and_semicolons() -> None:
    """What stands between quotation marks ends nothing; names have no case; order is by quality."""
    ranges = accepted(
        request('text/html;q=0.3 , MULTIPART/Related; Type="application/dicom";x="a,b;c\\"d"; transfer-syntax=*;q=.9')
    )
    assert [(found.media_type, found.multipart, found.quality) for found in ranges] == [
        ("application/dicom", True, 0.9),
        ("text/html", False, 0.3),
    ]
    assert ranges[0].parameters == {"x": 'a,b;c"d', "transfer-syntax": "*"}


def test_parameter_of_the_address_goes_first() -> None:
    """A link can say what it wants; a plus sign may have become a space on the way."""
    ranges = accepted(request("text/html", "accept=application/dicom+json&accept=image%2Fpng;q=0.5"))
    assert [found.media_type for found in ranges] == ["application/dicom+json", "image/png"]


def test_refused_types_are_gone() -> None:
    """`q=0` is a no."""
    with pytest.raises(HTTPException) as caught:
        require_json(request("application/dicom+json;q=0"))
    assert caught.value.status_code == 406


@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_anything_is_read_or_refused(accept: str) -> None:
    """A header is bytes of a stranger."""
    try:
        ranges = accepted(request(accept))
    except PlatformError:
        return
    assert all(0 < found.quality <= 1 for found in ranges)
