"""Named uploads: rows that give a digest a name, an owner and perhaps an end."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.models import StoredFile
from hulumed_platform.storage.objects import StoredObject, check_tenant

_MEDIA_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)
_PURPOSE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MAX_FILENAME = 255


class Files:
    """The stored files of all tenants, in a transaction of the caller. A file past its end counts as gone."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(
        self,
        tenant: str,
        stored: StoredObject,
        *,
        media_type: str,
        purpose: str,
        now: datetime,
        filename: str | None = None,
        expires_at: datetime | None = None,
    ) -> StoredFile:
        """Name an object that is already in the store; the new row's id is "file-" and 32 hex digits.

        Raises:
            PlatformError: INVALID_INPUT for a malformed tenant, media type, purpose or file name.
        """
        check_tenant(tenant)
        _check("media type, like application/dicom", _MEDIA_TYPE.fullmatch(media_type))
        _check("purpose, like user_data", _PURPOSE.fullmatch(purpose))
        _check("file name of 1 to 255 characters without control characters", filename is None or _is_name(filename))
        file = StoredFile(
            id=f"file-{uuid4().hex}",
            tenant=tenant,
            digest=stored.digest,
            size_bytes=stored.size_bytes,
            media_type=media_type,
            filename=filename,
            purpose=purpose,
            created_at=now,
            expires_at=expires_at,
        )
        self._session.add(file)
        self._session.flush()
        return file

    def get(self, tenant: str, file_id: str, *, now: datetime) -> StoredFile:
        """Return the tenant's file. Raises NOT_FOUND, also for a file past its end."""
        file = self._session.scalar(select(StoredFile).where(StoredFile.tenant == tenant, StoredFile.id == file_id))
        if file is None or (file.expires_at is not None and file.expires_at <= now):
            raise PlatformError(ErrorCode.NOT_FOUND, "No such file; upload it first, or again if it has expired.")
        return file

    def list(
        self, tenant: str, *, now: datetime, purpose: str | None = None, limit: int = 100, after: str | None = None
    ) -> Sequence[StoredFile]:
        """Return the tenant's files, the newest first; `after` is the id of the last one of the page before.

        Raises:
            PlatformError: NOT_FOUND, there is no file `after` any more.
        """
        query = select(StoredFile).where(
            StoredFile.tenant == tenant, StoredFile.expires_at.is_(None) | (StoredFile.expires_at > now)
        )
        if purpose is not None:
            query = query.where(StoredFile.purpose == purpose)
        if after is not None:
            last = self.get(tenant, after, now=now)
            older = StoredFile.created_at < last.created_at
            query = query.where(older | ((StoredFile.created_at == last.created_at) & (StoredFile.id > last.id)))
        page = query.order_by(StoredFile.created_at.desc(), StoredFile.id).limit(limit)
        return self._session.scalars(page).all()

    def delete(self, tenant: str, file_id: str) -> bool:
        """Forget the name; False when there was none. The bytes go by `retention.remove_unreferenced`."""
        statement = delete(StoredFile).where(StoredFile.tenant == tenant, StoredFile.id == file_id)
        return self._session.scalar(statement.returning(StoredFile.id)) is not None

    def expired(self, now: datetime, *, limit: int = 1000) -> Sequence[StoredFile]:
        """Return files past their end, of all tenants, the longest expired first."""
        return self._session.scalars(
            select(StoredFile).where(StoredFile.expires_at <= now).order_by(StoredFile.expires_at).limit(limit)
        ).all()


def _is_name(filename: str) -> bool:
    """Control characters break headers, and a lone surrogate is no text that could be stored."""
    storable = all(unicodedata.category(character) not in ("Cc", "Cs") for character in filename)
    return storable and 1 <= len(filename) <= _MAX_FILENAME


def _check(expected: str, fits: object) -> None:
    if not fits:
        raise PlatformError(ErrorCode.INVALID_INPUT, f"The upload needs a {expected}.")
