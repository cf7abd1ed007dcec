"""The one interface to stored bytes: content-addressed, apart for each tenant, a local directory or S3 behind it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from hulumed_platform.core.errors import ErrorCode, PlatformError

CHUNK_BYTES = 1 << 20
"""Bytes read or written at once wherever an object is streamed."""

_TENANT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What was stored: the digest of the bytes ("sha256:<64 hex digits>") and how many there are."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object found by listing; `modified_at` (UTC) is the time of its last put, also of an identical one."""

    digest: str
    size_bytes: int
    modified_at: datetime


@runtime_checkable
class ObjectStore(Protocol):
    """Bytes under their own sha256, one name space for each tenant.

    An object never changes, so everything about it may be cached. All methods may be called from many threads and
    processes at once. Every method raises `PlatformError`: INVALID_INPUT for a malformed tenant or digest,
    UNAVAILABLE (retryable) when the store cannot be reached, cannot be written or is full.

    A process that dies after `put` and before the digest is in SQL leaves an object nobody refers to and nothing
    worse; `retention.remove_unreferenced` collects it.
    """

    def put(self, tenant: str, chunks: Iterable[bytes], *, max_bytes: int | None = None) -> StoredObject:
        """Store the joined chunks; when this returns they survive a power cut. Putting the same bytes again is fine.

        Raises:
            PlatformError: TOO_LARGE as soon as more than `max_bytes` have come; nothing is kept then.
        """
        ...

    def open(self, tenant: str, digest: str) -> BinaryIO:
        """Return the object as a stream for the caller to close. Raises NOT_FOUND."""
        ...

    def read(self, tenant: str, digest: str) -> bytes:
        """Return the whole object; for those known to be small. Raises NOT_FOUND."""
        ...

    def materialise(self, tenant: str, digest: str, folder: Path) -> Path:
        """Return a path that holds the object, to be read only: its own one, or a copy made once inside `folder`.

        Raises:
            PlatformError: NOT_FOUND, or INTERNAL when what came back does not have the digest.
        """
        ...

    def size(self, tenant: str, digest: str) -> int:
        """Return the size in bytes. Raises NOT_FOUND."""
        ...

    def exists(self, tenant: str, digest: str) -> bool:
        """Say whether the tenant has the object."""
        ...

    def delete(self, tenant: str, digest: str) -> None:
        """Remove the object; one that is already gone is fine."""
        ...

    def list(self, tenant: str) -> Iterator[ListedObject]:
        """Yield the tenant's objects in the order of their digests."""
        ...

    def remove_unfinished(self, begun_before: datetime) -> int:
        """Remove what killed puts left behind; return how many. Puts that still run began later."""
        ...

    def check(self) -> None:
        """Raise UNAVAILABLE unless the store can be reached and used; cheap enough for a readiness probe."""
        ...


def object_key(tenant: str, digest: str) -> str:
    """Return `<tenant>/sha256/<first two digits>/<64 digits>`, the name of the object in every store.

    Raises:
        PlatformError: INVALID_INPUT for a malformed tenant or digest, so that neither can leave its folder.
    """
    check_tenant(tenant)
    if not _DIGEST.fullmatch(digest):
        raise PlatformError(
            ErrorCode.INVALID_INPUT, "Malformed object digest; expected 'sha256:' and 64 lower-case hex digits."
        )
    hex_digits = digest.removeprefix("sha256:")
    return f"{tenant}/sha256/{hex_digits[:2]}/{hex_digits}"


def digest_of_key(key: str) -> str | None:
    """Return the digest that the last part of `key` spells, or None when it is no object of ours."""
    digest = f"sha256:{key.rsplit('/', 1)[-1]}"
    return digest if _DIGEST.fullmatch(digest) else None


def check_tenant(tenant: str) -> None:
    """Raise INVALID_INPUT unless `tenant` is 1 to 63 of a-z, 0-9 and inner hyphens (a DNS label, RFC 1123)."""
    if not _TENANT.fullmatch(tenant):
        raise PlatformError(
            ErrorCode.INVALID_INPUT,
            "Malformed tenant name; use 1 to 63 lower-case letters, digits and inner hyphens.",
        )


def missing_object(digest: str) -> PlatformError:
    """The error for an object that the tenant does not have."""
    return PlatformError(ErrorCode.NOT_FOUND, f"No object {digest} is stored; upload it first or again.")
