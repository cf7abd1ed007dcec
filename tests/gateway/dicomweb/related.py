"""Reads multipart/related answers without the platform's own parser."""

from email.message import Message
from email.parser import BytesParser

import httpx


def parts(answer: httpx.Response) -> list[tuple[Message, bytes]]:
    """Headers and content of every part."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head)
    assert message.get_content_type() == "multipart/related"
    delimiter = b"--" + str(message.get_param("boundary")).encode()
    first, *pieces, last = answer.content.split(delimiter)
    assert (first, last.strip()) == (b"", b"--")
    read = []
    for piece in pieces:
        headers, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        read.append((BytesParser().parsebytes(headers + b"\r\n\r\n"), content.removesuffix(b"\r\n")))
    return read
