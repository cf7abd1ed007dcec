"""Answers of several parts (multipart/related, RFC 2387), streamed: one piece of one part is in memory at a time."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO
from uuid import uuid4

from anyio import CapacityLimiter, to_thread
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from hulumed_platform.gateway.dicomweb.accept import MULTIPART
from hulumed_platform.storage.objects import CHUNK_BYTES

HEADERS = {"Vary": "Accept", "X-Content-Type-Options": "nosniff"}
"""A stored file is a stranger's, and one that begins as a page or a program is not to be taken for it."""


@dataclass(frozen=True, slots=True)
class Part:
    """So many bytes from where a file stands; None = the rest of it."""

    content_type: str
    location: str
    file: BinaryIO
    length: int | None = None


Parts = AsyncGenerator[Part, None]
"""They close what they opened as they go on; whoever leaves early closes them."""


class Streamed(StreamingResponse):
    """Closes what it streams from at once where the reader leaves, and not when it is found to be garbage."""

    def __init__(self, body: AsyncGenerator[bytes, None], status: int, headers: Mapping[str, str]) -> None:
        super().__init__(body, status, headers)
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As every ASGI application is called."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._body.aclose()


async def related(
    parts: Parts,
    media_type: str,
    limiter: CapacityLimiter,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Streamed:
    """All parts as one answer. The first is made before the status goes out: what is wrong then still has one.

    A fault in a later one breaks the connection off, so that the answer never passes as a shorter one.
    """
    boundary = uuid4().hex
    first = await anext(parts)
    content_type = f'{MULTIPART}; type="{media_type}"; boundary={boundary}'
    body = _body(first, parts, boundary, limiter)
    return Streamed(body, status, {**(headers or {}), **HEADERS, "Content-Type": content_type})


async def single(parts: Parts, limiter: CapacityLimiter) -> Streamed:
    """The one part as the whole answer."""
    part = await anext(parts)

    async def body() -> AsyncGenerator[bytes, None]:
        try:
            async for piece in _content(part, limiter):
                yield piece
        finally:
            await parts.aclose()

    headers = {**HEADERS, "Content-Type": part.content_type, "Content-Location": part.location}
    if part.length is not None:
        headers["Content-Length"] = str(part.length)
    return Streamed(body(), 200, headers)


async def _body(first: Part, rest: Parts, boundary: str, limiter: CapacityLimiter) -> AsyncGenerator[bytes, None]:
    part: Part | None = first
    try:
        while part is not None:
            head = f"--{boundary}\r\nContent-Type: {part.content_type}\r\nContent-Location: {part.location}\r\n"
            if part.length is not None:
                head += f"Content-Length: {part.length}\r\n"
            yield f"{head}\r\n".encode()
            async for piece in _content(part, limiter):
                yield piece
            yield b"\r\n"
            part = await anext(rest, None)
    finally:
        await rest.aclose()
    yield f"--{boundary}--\r\n".encode()


async def _content(part: Part, limiter: CapacityLimiter) -> AsyncIterator[bytes]:
    left = part.length
    while left != 0:
        wanted = CHUNK_BYTES if left is None else min(left, CHUNK_BYTES)
        piece = await to_thread.run_sync(part.file.read, wanted, limiter=limiter)
        if not piece:
            assert left is None, "a file that ends before its length would pass as whole"
            return
        left = None if left is None else left - len(piece)
        yield piece
