"""Objects in a local directory: `<root>/<tenant>/sha256/<first two digits>/<64 digits>`."""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from hulumed_platform.storage.objects import (
    ListedObject,
    StoredObject,
    check_tenant,
    digest_of_key,
    missing_object,
    object_key,
)
from hulumed_platform.storage.spool import disk_errors, spool_file

_SPOOL = ".spool"  # no tenant's name begins with a dot


class LocalObjects:
    """`ObjectStore` over a directory of one file system, shared by every process that opens it.

    A put writes to `<root>/.spool`, syncs, and renames, so an object is there whole or not at all. A process killed in
    between leaves a file in the spool folder, which nothing ever reads; `remove_unfinished` collects it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._spool = self._root / _SPOOL
        self._durable: set[Path] = set()
        with disk_errors():
            self._root.mkdir(parents=True, exist_ok=True)
            self._make_durable(self._spool)

    def put(self, tenant: str, chunks: Iterable[bytes], *, max_bytes: int | None = None) -> StoredObject:
        """See `ObjectStore.put`. An identical object is replaced, which makes it young again."""
        check_tenant(tenant)
        with spool_file(self._spool) as spooled:
            stored = spooled.write(chunks, max_bytes=max_bytes)
            path = self._path(tenant, stored.digest)
            with disk_errors():
                self._make_durable(path.parent)
                spooled.move(path)
                _sync_folder(path.parent)
        return stored

    def open(self, tenant: str, digest: str) -> BinaryIO:
        """See `ObjectStore.open`."""
        with _reading(digest):
            return self._path(tenant, digest).open("rb")

    def read(self, tenant: str, digest: str) -> bytes:
        """See `ObjectStore.read`."""
        with _reading(digest):
            return self._path(tenant, digest).read_bytes()

    def materialise(self, tenant: str, digest: str, folder: Path) -> Path:  # noqa: ARG002 (no copy is needed)
        """Return the object's own path; the folder stays empty. See `ObjectStore.materialise`."""
        self.size(tenant, digest)
        return self._path(tenant, digest)

    def size(self, tenant: str, digest: str) -> int:
        """See `ObjectStore.size`."""
        with _reading(digest):
            return self._path(tenant, digest).stat().st_size

    def exists(self, tenant: str, digest: str) -> bool:
        """See `ObjectStore.exists`."""
        with disk_errors():
            return self._path(tenant, digest).exists()

    def delete(self, tenant: str, digest: str) -> None:
        """See `ObjectStore.delete`."""
        with disk_errors():
            self._path(tenant, digest).unlink(missing_ok=True)

    def list(self, tenant: str) -> Iterator[ListedObject]:
        """See `ObjectStore.list`."""
        check_tenant(tenant)
        with disk_errors():
            for folder in sorted((self._root / tenant / "sha256").glob("??")):
                yield from _listed(folder)

    def remove_unfinished(self, begun_before: datetime) -> int:
        """See `ObjectStore.remove_unfinished`."""
        removed = 0
        with disk_errors():
            for path in self._spool.iterdir():
                with suppress(FileNotFoundError):  # its put has just ended
                    if path.stat().st_mtime < begun_before.timestamp():
                        path.unlink()
                        removed += 1
        return removed

    def check(self) -> None:
        """See `ObjectStore.check`."""
        with disk_errors():
            if not os.access(self._spool, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "the object folder is not writable")

    def _path(self, tenant: str, digest: str) -> Path:
        return self._root / object_key(tenant, digest)

    def _make_durable(self, folder: Path) -> None:
        """Make a folder of the store and sync its name; once a process, as another may have made it unsynced."""
        if folder == self._root or folder in self._durable:
            return
        self._make_durable(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)
        self._durable.add(folder)


def _listed(folder: Path) -> Iterator[ListedObject]:
    for path in sorted(folder.iterdir()):
        digest = digest_of_key(path.name)
        if digest is None:
            continue
        with suppress(FileNotFoundError):  # deleted since the folder was read
            status = path.stat()
            yield ListedObject(digest, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _reading(digest: str) -> Iterator[None]:
    with disk_errors():
        try:
            yield
        except FileNotFoundError as error:
            raise missing_object(digest) from error
