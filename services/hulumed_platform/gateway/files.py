"""`/v1/files`: uploads for what does not fit a data URI, as the official OpenAI client does them."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Annotated, Any, BinaryIO

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway.dependencies import Door, door
from hulumed_platform.gateway.multipart import boundary_of
from hulumed_platform.gateway.parts import Part, read_parts
from hulumed_platform.storage.files import Files
from hulumed_platform.storage.models import StoredFile
from hulumed_platform.storage.objects import CHUNK_BYTES
from hulumed_platform.storage.retention import require_kept

router = APIRouter(prefix="/v1/files", tags=["files"])
_Door = Annotated[Door, Depends(door)]

_FIELDS = ("file", "purpose")
_MAX_FORM_BYTES = 64 * 1024
"""What a form may have besides its file."""
_MAX_PURPOSE_BYTES = 100
_FORM = {
    "type": "object",
    "required": list(_FIELDS),
    "properties": {"file": {"type": "string", "format": "binary"}, "purpose": {"type": "string"}},
}
_BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}}


@dataclass(frozen=True, slots=True)
class Upload:
    """What a form sent. `filename` is the sender's own words and names no path of ours."""

    file: BinaryIO
    filename: str | None
    media_type: str
    purpose: str


@router.post("", openapi_extra=_BODY)
async def upload(request: Request, door: _Door) -> dict[str, Any]:
    """Store a file; name it by its `id` in chat requests."""
    with ExitStack() as files:
        sent = await _read_form(request, door, files)
        return _described(await to_thread.run_sync(_keep, door, sent, limiter=door.limiter))


async def _read_form(request: Request, door: Door, files: ExitStack) -> Upload:
    """Read the form; its file is closed with `files`."""
    max_bytes = door.settings.max_upload_bytes
    parts: dict[str, Part] = {}
    boundary = _boundary(request.headers.get("content-type", ""))
    async for part in read_parts(
        request, boundary, door, max_bytes=max_bytes + _MAX_FORM_BYTES, max_part_bytes=max_bytes
    ):
        files.enter_context(part.file)
        name = _parameter(part, "name")
        if name not in _FIELDS or name in parts:
            raise PlatformError(ErrorCode.INVALID_INPUT, f"the form has once each of {' and '.join(_FIELDS)}; no more")
        parts[name] = part
    if missing := [name for name in _FIELDS if name not in parts]:
        raise PlatformError(ErrorCode.INVALID_INPUT, f"the form lacks {' and '.join(missing)}")
    file, purpose = (parts[name] for name in _FIELDS)
    purpose.file.seek(0)
    return Upload(
        file.file,
        _parameter(file, "filename") or None,
        file.headers.get("content-type", "application/octet-stream").split(";")[0].strip(),
        purpose.file.read(_MAX_PURPOSE_BYTES).decode("utf-8", errors="replace"),
    )


def _boundary(content_type: str) -> bytes:
    if not content_type.strip().lower().startswith("multipart/form-data"):
        raise PlatformError(ErrorCode.UNSUPPORTED, "send multipart/form-data with the fields file and purpose")
    return boundary_of(content_type)[2]


def _parameter(part: Part, name: str) -> str:
    """A parameter of the part's Content-Disposition (RFC 7578, section 4.2); empty where it is missing."""
    message = Message()
    message["content-disposition"] = part.headers.get("content-disposition", "")
    return collapse_rfc2231_value(message.get_param(name, "", header="content-disposition") or "")


def _keep(door: Door, sent: Upload) -> StoredFile:
    sent.file.seek(0)
    chunks = iter(lambda: sent.file.read(CHUNK_BYTES), b"")
    stored = door.objects.put(door.settings.tenant, chunks, max_bytes=door.settings.max_upload_bytes)
    if stored.size_bytes == 0:
        raise PlatformError(ErrorCode.INVALID_INPUT, "the file is empty")
    with door.database.session() as session:
        file = Files(session).add(
            door.settings.tenant,
            stored,
            media_type=sent.media_type,
            purpose=sent.purpose,
            now=datetime.now(UTC),
            filename=sent.filename,
        )
    require_kept(door.objects, door.settings.tenant, [stored.digest])
    return file


@router.get("")
def list_files(
    door: _Door,
    purpose: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Files that are still kept, the newest first; `after` is the id of the last one of the page before."""
    with door.database.reading() as session:
        files = Files(session).list(
            door.settings.tenant, now=datetime.now(UTC), purpose=purpose, limit=limit + 1, after=after
        )
    return {"object": "list", "data": [_described(file) for file in files[:limit]], "has_more": len(files) > limit}


@router.get("/{file_id}")
def get_file(file_id: str, door: _Door) -> dict[str, Any]:
    """What is known of a file."""
    return _described(_get(door, file_id))


@router.get("/{file_id}/content")
def get_content(file_id: str, door: _Door) -> StreamingResponse:
    """The bytes of a file."""
    file = _get(door, file_id)
    stream = door.objects.open(door.settings.tenant, file.digest)

    def chunks() -> Iterator[bytes]:
        with stream:
            yield from iter(lambda: stream.read(CHUNK_BYTES), b"")

    # Never a type that a browser would run: the file is whatever its sender says it is.
    headers = {"Content-Length": str(file.size_bytes), "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(chunks(), media_type="application/octet-stream", headers=headers)


@router.delete("/{file_id}")
def delete_file(file_id: str, door: _Door) -> dict[str, Any]:
    """Forget a file; its bytes go when nothing else names them."""
    with door.database.session() as session:
        deleted = Files(session).delete(door.settings.tenant, file_id)
    if not deleted:
        raise PlatformError(ErrorCode.NOT_FOUND, "no such file")
    return {"id": file_id, "object": "file", "deleted": True}


def _get(door: Door, file_id: str) -> StoredFile:
    with door.database.reading() as session:
        return Files(session).get(door.settings.tenant, file_id, now=datetime.now(UTC))


def _described(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": int(file.created_at.timestamp()),
        "expires_at": int(file.expires_at.timestamp()) if file.expires_at else None,
        "filename": file.filename or "",
        "purpose": file.purpose,
        "status": "processed",
    }
