"""Answers in DICOM JSON (PS3.18, annex F), packed where the client can unpack them."""

import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from hulumed_platform.gateway.dicomweb.accept import DICOM_JSON
from hulumed_platform.gateway.urls import public_url

_WORTH_PACKING_BYTES = 1024
_LEVEL = 1
"""Of gzip: JSON of headers shrinks tenfold at the fastest one."""
_GZIP = 31
"""wbits that make zlib write the gzip format."""


def root(request: Request) -> str:
    """The address of the DICOMweb service, as the client sees it."""
    return f"{public_url(request)}/dicom-web"


def json_answer(request: Request, content: Any, *, status: int = 200, warnings: Sequence[str] = ()) -> Response:
    """The content as `application/dicom+json`."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    headers = {"Vary": "Accept-Encoding", **warning_header(request, warnings)}
    if len(body) > _WORTH_PACKING_BYTES and reads_gzip(request):
        packer = zlib.compressobj(_LEVEL, wbits=_GZIP)
        body = packer.compress(body) + packer.flush()
        headers["Content-Encoding"] = "gzip"
    return Response(body, status, headers=headers, media_type=DICOM_JSON)


def warning_header(request: Request, warnings: Sequence[str]) -> dict[str, str]:
    """The Warning header of PS3.18, section 8.3.4: `299 <service>: text`; none without warnings."""
    return {"Warning": ", ".join(f"299 {root(request)}: {text}" for text in warnings)} if warnings else {}


def reads_gzip(request: Request) -> bool:
    """Whether Accept-Encoding takes gzip."""
    for item in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, quality = item.replace(" ", "").partition(";q=")
        if name in ("gzip", "x-gzip", "*"):
            return quality.strip("0.") != "" if quality else True
    return False


async def gzipped(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Pack a stream; what has come so far goes out with each piece."""
    packer = zlib.compressobj(_LEVEL, wbits=_GZIP)
    async for piece in pieces:
        yield packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()
