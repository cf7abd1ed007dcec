"""The parts of a multipart request as files, each as soon as it is whole."""

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from anyio import to_thread
from fastapi import Request

from hulumed_platform.gateway.bodies import limited_body
from hulumed_platform.gateway.dependencies import Door
from hulumed_platform.gateway.multipart import MultipartParser, PartBegin, PartData, PartEnd
from hulumed_platform.storage.spool import disk_errors

_MEMORY_BYTES = 8 << 20
"""A part larger than this goes to disk while it comes in."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its headers, names in lower case, and its content, in a file that the caller closes."""

    headers: dict[str, str]
    file: BinaryIO


async def read_parts(
    request: Request, boundary: bytes, door: Door, *, max_bytes: int, max_part_bytes: int
) -> AsyncIterator[Part]:
    """Read a multipart body to its end.

    Args:
        request: whose body it is.
        boundary: of its Content-Type.
        door: where bodies may lie while they come in.
        max_bytes: of the whole body, after decompression.
        max_part_bytes: of a part. Of a larger one the file holds one byte more than that, and the rest is dropped.

    Raises:
        PlatformError: INVALID_INPUT where the body is no multipart or was cut off, TOO_LARGE over `max_bytes`,
            UNAVAILABLE when the disk is full.
    """
    parser = MultipartParser(boundary)
    part: Part | None = None
    try:
        async for piece in limited_body(request, max_bytes, idle_timeout_s=door.settings.body_idle_timeout_s):
            for event in parser.feed(piece):
                match event:
                    case PartBegin(headers):
                        part = Part(headers, _spool(door))
                    case PartData(data):
                        assert part is not None
                        room = max_part_bytes + 1 - part.file.tell()
                        await to_thread.run_sync(_write, part.file, data[:room], limiter=door.limiter)
                    case PartEnd():
                        assert part is not None
                        whole, part = part, None
                        yield whole
        parser.finish()
    finally:
        if part is not None:
            part.file.close()


def _spool(door: Door) -> BinaryIO:
    folder = door.settings.scratch_dir
    return cast("BinaryIO", tempfile.SpooledTemporaryFile(_MEMORY_BYTES, dir=None if folder is None else str(folder)))


def _write(file: BinaryIO, data: bytes) -> None:
    with disk_errors():
        file.write(data)
