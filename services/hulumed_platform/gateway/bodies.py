"""Request bodies as streams: decoded, and never more than a limit."""

import asyncio
import zlib
from collections.abc import AsyncIterator

from fastapi import HTTPException, Request

from hulumed_platform.core.errors import ErrorCode, PlatformError

_MAX_STEP_BYTES = 1 << 20
"""Decompressed bytes handed on at once; a bomb unfolds in steps, and the limit stops it."""


async def limited_body(request: Request, max_bytes: int, *, idle_timeout_s: float) -> AsyncIterator[bytes]:
    """The body piece by piece, gzip undone.

    Raises:
        HTTPException: 408 when nothing came for `idle_timeout_s`.
        PlatformError: TOO_LARGE once more than `max_bytes` came, or the header claims so; UNSUPPORTED for another
            encoding; INVALID_INPUT for broken gzip.
    """
    _check_claim(request.headers.get("content-length"), max_bytes)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise PlatformError(ErrorCode.UNSUPPORTED, f"Content-Encoding {encoding[:20]!r} is not read; use gzip or none")
    sent = _awake(request.stream(), idle_timeout_s)
    total = 0
    async for piece in sent if encoding == "identity" else _gunzipped(sent):
        total += len(piece)
        if total > max_bytes:
            raise too_large(max_bytes)
        yield piece


def too_large(max_bytes: int) -> PlatformError:
    """The error for a body over its limit."""
    return PlatformError(ErrorCode.TOO_LARGE, f"the body has more than the {max_bytes:,} bytes allowed here")


def _check_claim(claimed: str | None, max_bytes: int) -> None:
    """Refuse by the header what would be refused after hours of sending."""
    if claimed is not None and claimed.isdigit() and int(claimed) > max_bytes:
        raise too_large(max_bytes)


async def _awake(pieces: AsyncIterator[bytes], idle_timeout_s: float) -> AsyncIterator[bytes]:
    """Give a sender up that went silent: it would hold memory, disk and a connection for ever."""
    while True:
        try:
            async with asyncio.timeout(idle_timeout_s):
                piece = await anext(pieces, None)
        except TimeoutError:
            raise HTTPException(408, f"nothing came for {idle_timeout_s:g} s; send the request again") from None
        if piece is None:
            return
        yield piece


async def _gunzipped(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    inflater = zlib.decompressobj(wbits=31)
    try:
        async for piece in pieces:
            rest = piece
            while rest and not inflater.eof:
                yield inflater.decompress(rest, _MAX_STEP_BYTES)
                rest = inflater.unconsumed_tail
    except zlib.error:
        raise PlatformError(ErrorCode.INVALID_INPUT, "the body is not gzip, though Content-Encoding says so") from None
    if not inflater.eof:
        raise PlatformError(ErrorCode.INVALID_INPUT, "the gzip body ends in the middle; send it again")
