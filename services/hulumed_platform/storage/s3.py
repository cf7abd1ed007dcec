"""Objects in a bucket of any server that speaks S3: `<prefix>/<tenant>/sha256/<first two digits>/<64 digits>`."""

import io
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, cast

from minio import Minio
from minio.error import MinioException, S3Error
from urllib3 import BaseHTTPResponse, PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.objects import (
    CHUNK_BYTES,
    ListedObject,
    StoredObject,
    check_tenant,
    digest_of_key,
    missing_object,
    object_key,
)
from hulumed_platform.storage.spool import disk_errors, spool_file

_PART_BYTES = 16 << 20
"""Parts of a multipart upload; a put holds up to three of them in memory."""
_CONNECT_TIMEOUT_S = 3
_READ_TIMEOUT_S = 60
_CONNECTIONS = 32


class S3Objects:
    """`ObjectStore` over one bucket, which must exist.

    S3 makes an object visible, whole, when the put is answered; the server's answer is the promise of durability. The
    digest is needed for the key, so a put is spooled to a local temporary folder first.

    Raises:
        ValueError: A malformed endpoint or region, or an access key without a secret key.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        bucket: str,
        prefix: str = "",
        region: str = "us-east-1",
        secure: bool = True,
        access_key: str | None = None,
        secret_key: str | None = None,
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        retries = Retry(total=2, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504))
        timeout = Timeout(connect=_CONNECT_TIMEOUT_S, read=_READ_TIMEOUT_S)
        self._client = Minio(
            endpoint,
            access_key=access_key,
            secret_key=secret_key,
            region=region,
            secure=secure,
            http_client=PoolManager(timeout=timeout, retries=retries, maxsize=_CONNECTIONS),
        )

    def put(self, tenant: str, chunks: Iterable[bytes], *, max_bytes: int | None = None) -> StoredObject:
        """See `ObjectStore.put`. An identical object is replaced, which makes it young again."""
        check_tenant(tenant)
        with tempfile.TemporaryDirectory() as folder, spool_file(Path(folder)) as spooled:
            stored = spooled.write(chunks, max_bytes=max_bytes)
            with spooled.path.open("rb") as source, _translated():
                self._client.put_object(
                    self._bucket,
                    self._key(tenant, stored.digest),
                    source,
                    stored.size_bytes,
                    part_size=_PART_BYTES,
                )
        self._require_size(tenant, stored)
        return stored

    def _require_size(self, tenant: str, stored: StoredObject) -> None:
        size_bytes = self.size(tenant, stored.digest)
        if size_bytes != stored.size_bytes:
            raise PlatformError(
                ErrorCode.UNAVAILABLE,
                f"The object store kept {size_bytes} of {stored.size_bytes} bytes of an upload; send it again.",
            )

    def open(self, tenant: str, digest: str) -> BinaryIO:
        """See `ObjectStore.open`. The stream cannot seek."""
        key = self._key(tenant, digest)
        with _translated(digest):
            response = self._client.get_object(self._bucket, key)
        return cast("BinaryIO", io.BufferedReader(_Body(response), CHUNK_BYTES))

    def read(self, tenant: str, digest: str) -> bytes:
        """See `ObjectStore.read`."""
        with self.open(tenant, digest) as source:
            return source.read()

    def materialise(self, tenant: str, digest: str, folder: Path) -> Path:
        """Download to `<folder>/<tenant>/<64 digits>` unless it is there. See `ObjectStore.materialise`."""
        path = folder / tenant / object_key(tenant, digest).rsplit("/", 1)[-1]
        if path.exists():
            return path
        with disk_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
        with self.open(tenant, digest) as source, spool_file(path.parent) as spooled:
            if spooled.write(iter(lambda: source.read(CHUNK_BYTES), b"")).digest != digest:
                raise PlatformError(
                    ErrorCode.INTERNAL, f"Object {digest} came back from the store with other content; restore it."
                )
            spooled.move(path)
        return path

    def size(self, tenant: str, digest: str) -> int:
        """See `ObjectStore.size`."""
        key = self._key(tenant, digest)
        with _translated(digest):
            return self._client.stat_object(self._bucket, key).size or 0

    def exists(self, tenant: str, digest: str) -> bool:
        """See `ObjectStore.exists`."""
        try:
            self.size(tenant, digest)
        except PlatformError as error:
            if error.code is ErrorCode.NOT_FOUND:
                return False
            raise
        return True

    def delete(self, tenant: str, digest: str) -> None:
        """See `ObjectStore.delete`."""
        key = self._key(tenant, digest)
        with _translated():
            self._client.remove_object(self._bucket, key)

    def list(self, tenant: str) -> Iterator[ListedObject]:
        """See `ObjectStore.list`."""
        check_tenant(tenant)
        prefix = f"{self._prefix}{tenant}/sha256/"
        with _translated():
            for found in self._client.list_objects(self._bucket, prefix, recursive=True):
                digest = digest_of_key(found.object_name or "")
                if digest is not None and found.last_modified is not None:
                    yield ListedObject(digest, found.size or 0, found.last_modified)

    def remove_unfinished(self, begun_before: datetime) -> int:  # noqa: ARG002
        """Nothing to do: parts of a multipart upload that was never completed go by a lifecycle rule of the bucket."""
        return 0

    def check(self) -> None:
        """See `ObjectStore.check`."""
        with _translated():
            exists = self._client.bucket_exists(self._bucket)
        if not exists:
            raise _no_bucket()

    def _key(self, tenant: str, digest: str) -> str:
        return self._prefix + object_key(tenant, digest)


class _Body(io.RawIOBase):
    """The body of an answer as a raw stream: errors half-way are the platform's, closing gives the connection back."""

    def __init__(self, response: BaseHTTPResponse) -> None:
        self._response = response

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed has a private buffer type
        with _translated():
            data = self._response.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._response.close()
            self._response.release_conn()
        super().close()


@contextmanager
def _translated(digest: str | None = None) -> Iterator[None]:
    """Turn the errors of minio and urllib3 into the platform's; `digest` is the object that may be missing."""
    try:
        yield
    except S3Error as error:
        raise _refusal(error, digest) from error
    except (MinioException, HTTPError) as error:
        raise PlatformError(ErrorCode.UNAVAILABLE, "The object store cannot be reached; try again.") from error


def _refusal(error: S3Error, digest: str | None) -> PlatformError:
    """An answer of the server is final, unless it says that the server itself is in trouble."""
    if error.code == "NoSuchKey" and digest is not None:
        return missing_object(digest)
    if error.code == "NoSuchBucket":
        return _no_bucket()
    return PlatformError(
        ErrorCode.UNAVAILABLE,
        f"The object store refused ({error.code}); the operator checks its keys, rights and space.",
        retryable=error.code in ("InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout"),
    )


def _no_bucket() -> PlatformError:
    return PlatformError(
        ErrorCode.UNAVAILABLE, "The object store lacks the bucket of objects_url; create it.", retryable=False
    )
