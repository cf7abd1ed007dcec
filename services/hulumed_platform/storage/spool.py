"""Writing bytes to disk with care: hashed while copied, whole or not at all, with the platform's errors."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.objects import StoredObject


class SpoolFile:
    """A temporary file that becomes an object by being moved, and is gone otherwise."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self.path = path

    def write(self, chunks: Iterable[bytes], *, max_bytes: int | None = None) -> StoredObject:
        """Write the chunks; return the digest and size of what was written.

        Raises:
            PlatformError: TOO_LARGE as soon as more than `max_bytes` have come; UNAVAILABLE when the disk fails.
        """
        digest = hashlib.sha256()
        size_bytes = 0
        for chunk in chunks:
            size_bytes += len(chunk)
            if max_bytes is not None and size_bytes > max_bytes:
                raise PlatformError(
                    ErrorCode.TOO_LARGE, f"The upload is over the limit of {max_bytes} bytes; send less in one piece."
                )
            digest.update(chunk)
            with disk_errors():
                self._write_all(chunk)
        return StoredObject(f"sha256:{digest.hexdigest()}", size_bytes)

    def _write_all(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def move(self, path: Path) -> None:
        """Rename to `path` on the same file system; the content is on disk before the name is."""
        with disk_errors():
            os.fsync(self._descriptor)
            self.path.replace(path)


@contextmanager
def spool_file(folder: Path) -> Iterator[SpoolFile]:
    """Open a temporary file inside `folder` and remove it at the end, unless it was moved."""
    with disk_errors():
        descriptor, name = tempfile.mkstemp(dir=folder)
    path = Path(name)
    try:
        yield SpoolFile(descriptor, path)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn the file system's errors into UNAVAILABLE; they name no path, as paths may be anything."""
    try:
        yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "unknown error")
        raise PlatformError(
            ErrorCode.UNAVAILABLE, f"The disk cannot be used ({name}); the operator frees space or mends it."
        ) from error
