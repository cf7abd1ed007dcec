"""Gives instances back: whole, as frames, pictures or metadata (what WADO-RS serves, PS3.18, section 10.4)."""

import tempfile
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import select
from sqlalchemy.orm import Session

from hulumed_platform.archive.rendering import Renderers
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.metadata import Metadata
from hulumed_platform.storage.models import Instance, Series, Study
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.storage.spool import disk_errors

_AT_ONCE = 32
"""Instances whose metadata are computed or fetched in one step."""


@dataclass(frozen=True, slots=True)
class Located:
    """An instance and where its bytes are."""

    id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    digest: str
    size_bytes: int
    instance_number: str | None


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames one after the other in a file that the caller closes, and the length of each in bytes."""

    file: BinaryIO
    lengths: tuple[int, ...]


def locate(
    session: Session, tenant: str, study: str, series: str | None = None, instance: str | None = None
) -> list[Located]:
    """The instances of a study, series or of that UID, by series and Instance Number.

    Raises:
        PlatformError: NOT_FOUND where there is none.
    """
    wanted = [Study.tenant == tenant, Study.study_instance_uid == study]
    if series is not None:
        wanted.append(Series.series_instance_uid == series)
    if instance is not None:
        wanted.append(Instance.sop_instance_uid == instance)
    rows = session.execute(
        select(
            Instance.id,
            Study.study_instance_uid,
            Series.series_instance_uid,
            Instance.sop_instance_uid,
            Instance.sop_class_uid,
            Instance.transfer_syntax_uid,
            Instance.digest,
            Instance.size_bytes,
            Instance.instance_number,
        )
        .select_from(Instance)
        .join(Series, Instance.series_id == Series.id)
        .join(Study, Series.study_id == Study.id)
        .where(*wanted)
    )
    found = sorted((Located(*row) for row in rows), key=_order)
    if not found:
        what = "study" if series is None else "series" if instance is None else "instance"
        raise PlatformError(ErrorCode.NOT_FOUND, f"no such {what} is stored here")
    return found


def _order(one: Located) -> tuple[str, int, str]:
    number = one.instance_number or ""
    return one.series_instance_uid, int(number) if number.lstrip("-").isdecimal() else 0, one.sop_instance_uid


class Retrieval:
    """Instances of a tenant as clients want them. Blocking: an event loop calls it in a worker thread.

    Every method raises `PlatformError`: UNAVAILABLE when a store is away; UNSUPPORTED where an instance cannot be read
    or decoded; NOT_FOUND for a frame or element that it does not have; BUSY when all children are at work.
    """

    def __init__(
        self, objects: ObjectStore, database: Database, renderers: Renderers, tenant: str, scratch_dir: Path | None
    ) -> None:
        self._objects = objects
        self._database = database
        self._renderers = renderers
        self._tenant = tenant
        self._scratch_dir = scratch_dir

    def stored(self, instance: Located) -> BinaryIO:
        """The instance as it came, for the caller to close."""
        return self._objects.open(self._tenant, instance.digest)

    def transcoded(self, instance: Located) -> BinaryIO:
        """The instance in Explicit VR Little Endian, for the caller to close."""
        return self._made(instance, "transcode")[0]

    def frames(self, instance: Located, numbers: Sequence[int] | None, *, decode: bool) -> Frames:
        """Frames by their numbers from 1, or all: decoded to little endian, or compressed as they are stored."""
        numbers = None if numbers is None else list(numbers)
        file, result = self._made(instance, "frames", numbers=numbers, decode=decode)
        return Frames(file, tuple(result["lengths"]))

    def picture(self, instance: Located, **options: Any) -> bytes:
        """A frame as a picture; see `renderer.picture.write_picture` for the options."""
        with self._made(instance, "picture", **options)[0] as file:
            return file.read()

    def bulk(self, instance: Located, element: str) -> BinaryIO:
        """The value of an element, named as `renderer.bulk.write_bulk` says, for the caller to close."""
        return self._made(instance, "bulk", element=element)[0]

    def metadata(self, instances: Sequence[Located]) -> Iterator[list[tuple[str, bytes]]]:
        """SOP Instance UIDs and metadata in the DICOM JSON model, some at a time; BulkDataURIs are relative.

        They are computed once and kept. An instance that cannot be parsed is left out.
        """
        pool = ThreadPoolExecutor(self._renderers.count)
        ahead: deque[Future[list[tuple[str, bytes]]]] = deque()
        try:
            for start in range(0, len(instances), _AT_ONCE):
                ahead.append(pool.submit(self._metadata, instances[start : start + _AT_ONCE]))
                if len(ahead) > self._renderers.count:  # no more than that waits in memory for a slow reader
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _metadata(self, instances: Sequence[Located]) -> list[tuple[str, bytes]]:
        with self._database.reading() as session:
            known = Metadata(session).find([one.id for one in instances])
        missing = [one for one in instances if one.id not in known]
        if missing:
            made = self._computed(missing)
            with self._database.session() as session:
                Metadata(session).keep(made)
            known |= made
        contents = [(one.sop_instance_uid, zlib.decompress(known[one.id])) for one in instances]
        return [(uid, content) for uid, content in contents if content != b"null"]

    def _computed(self, instances: Sequence[Located]) -> dict[str, bytes]:
        with self._scratch() as folder:
            paths = [str(self._objects.materialise(self._tenant, one.digest, folder)) for one in instances]
            out = folder / "out"
            self._renderers.run("metadata", paths=paths, out=str(out))
            with disk_errors():
                lines = out.read_bytes().splitlines()
        return {one.id: zlib.compress(line) for one, line in zip(instances, lines, strict=True)}

    def _made(self, instance: Located, job: str, **arguments: Any) -> tuple[BinaryIO, dict[str, Any]]:
        """What a child wrote, open, its name already gone, and what it said."""
        with self._scratch() as folder:
            path = self._objects.materialise(self._tenant, instance.digest, folder)
            out = folder / "out"
            result = self._renderers.run(job, path=str(path), out=str(out), **arguments)
            with disk_errors():
                return out.open("rb"), result

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self._scratch_dir, prefix="hulumed-") as folder:
            yield Path(folder)
