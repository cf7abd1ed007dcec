"""`/v1/files`: uploads for what does not fit a data URI, as the official OpenAI client does them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Form, Query, UploadFile
from fastapi.responses import StreamingResponse

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway.dependencies import Door, door
from hulumed_platform.storage.files import Files
from hulumed_platform.storage.models import StoredFile
from hulumed_platform.storage.objects import CHUNK_BYTES

router = APIRouter(prefix="/v1/files", tags=["files"])
_Door = Annotated[Door, Depends(door)]


@router.post("")
async def upload(door: _Door, file: UploadFile, purpose: Annotated[str, Form()]) -> dict[str, Any]:
    """Store a file; name it by its `id` in chat requests."""

    def keep() -> StoredFile:
        chunks = iter(lambda: file.file.read(CHUNK_BYTES), b"")
        stored = door.objects.put(door.settings.tenant, chunks, max_bytes=door.settings.max_upload_bytes)
        if stored.size_bytes == 0:
            raise PlatformError(ErrorCode.INVALID_INPUT, "the file is empty")
        with door.database.session() as session:
            return Files(session).add(
                door.settings.tenant,
                stored,
                media_type=(file.content_type or "application/octet-stream").split(";")[0],
                purpose=purpose,
                now=datetime.now(UTC),
                filename=file.filename,
            )

    return _described(await to_thread.run_sync(keep, limiter=door.limiter))


@router.get("")
def list_files(
    door: _Door, purpose: str | None = None, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> dict[str, Any]:
    """The newest files that are still kept."""
    with door.database.reading() as session:
        files = Files(session).list(door.settings.tenant, now=datetime.now(UTC), purpose=purpose, limit=limit)
    return {"object": "list", "data": [_described(file) for file in files], "has_more": False}


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
