"""From stored objects to planes: fetches what a request names into a scratch folder and hands it to imaging."""

import hashlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.prepare import PREPROCESSING_VERSION, Preparation, prepare
from hulumed_platform.imaging.types import Kind, Limits, Media, PrepareOptions, SourceFile, TokenBudget
from hulumed_platform.model.compression import KeepRule
from hulumed_platform.storage.objects import ObjectStore

_CODES = {
    "invalid": ErrorCode.INVALID_INPUT,
    "unsupported": ErrorCode.UNSUPPORTED,
    "too_large": ErrorCode.TOO_LARGE,
    "timeout": ErrorCode.DEADLINE,
}


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An object of the store; `label` names it in messages."""

    digest: str
    label: str


@dataclass(frozen=True, slots=True)
class StoredMedia:
    """One medium of a request, by reference."""

    files: tuple[StoredFile, ...]
    kind: Kind | None
    options: PrepareOptions


class Preparer:
    """Prepares the media of many requests at once; nothing of a request stays behind."""

    def __init__(
        self, objects: ObjectStore, *, limits: Limits, budget: TokenBudget, scratch_dir: Path | None, fetch_threads: int
    ) -> None:
        self._objects = objects
        self._limits = limits
        self._budget = budget
        self._scratch_dir = scratch_dir
        self._fetch_threads = fetch_threads

    def key_parts(self, tenant: str, media: Sequence[StoredMedia]) -> list[Any]:
        """All that the planes of a request depend on."""
        described = [[[file.digest for file in medium.files], medium.kind, asdict(medium.options)] for medium in media]
        # Of the limits, this one alone changes planes instead of refusing them.
        return [tenant, described, PREPROCESSING_VERSION, asdict(self._budget), self._limits.max_planes]

    @contextmanager
    def open(
        self, tenant: str, media: Sequence[StoredMedia], *, timeout_s: float, gone: threading.Event
    ) -> Iterator[Preparation]:
        """The planned media of a request; its planes may be read inside the block only.

        Args:
            tenant: whose objects the media are.
            media: what to prepare.
            timeout_s: what the caller has left; shortens the limit on time.
            gone: set when nobody waits any more.

        Raises:
            PlatformError: what imaging has to say about the input, also while its planes are read; NOT_FOUND for a
                missing object; CANCELLED.
        """
        with self._scratch() as scratch:
            fetched = self._fetch(tenant, media, scratch, gone)
            yield prepare(fetched, limits=self._limits_within(timeout_s), budget=self._budget, scratch=scratch)

    @contextmanager
    def open_content(self, content: bytes, *, timeout_s: float) -> Iterator[Preparation]:
        """As `open`, for one file that came with the request itself."""
        with self._scratch() as scratch:
            path = scratch / "content"
            path.write_bytes(content)
            file = SourceFile(path, f"sha256:{hashlib.sha256(content).hexdigest()}", "the file")
            limits = self._limits_within(timeout_s)
            yield prepare([Media((file,))], limits=limits, budget=self._budget, scratch=scratch)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="ingest-", dir=self._scratch_dir) as name:
            try:
                yield Path(name)
            except ImagingError as error:
                raise PlatformError(_CODES[error.kind], str(error)) from error

    def _limits_within(self, timeout_s: float) -> Limits:
        return replace(self._limits, timeout_s=min(self._limits.timeout_s, timeout_s))

    def _fetch(self, tenant: str, media: Sequence[StoredMedia], scratch: Path, gone: threading.Event) -> list[Media]:
        files = list({file.digest: file for medium in media for file in medium.files}.values())

        def fetch(file: StoredFile) -> Path:
            if gone.is_set():
                raise PlatformError(ErrorCode.CANCELLED, "the caller left while its objects were fetched")
            return self._objects.materialise(tenant, file.digest, scratch)

        with ThreadPoolExecutor(self._fetch_threads, thread_name_prefix="fetch") as pool:
            self._check_sizes(files, list(pool.map(lambda file: self._objects.size(tenant, file.digest), files)))
            paths = dict(zip((file.digest for file in files), pool.map(fetch, files), strict=True))
        return [
            Media(
                tuple(SourceFile(paths[file.digest], file.digest, file.label) for file in medium.files),
                medium.kind,
                medium.options,
            )
            for medium in media
        ]

    def _check_sizes(self, files: Sequence[StoredFile], sizes: Sequence[int]) -> None:
        """Refuse before anything is fetched; what a caller says of sizes is not believed."""
        for file, size in zip(files, sizes, strict=True):
            if size > self._limits.max_bytes:
                raise _too_large(f"{file.label} has {size} bytes", "max_bytes", self._limits.max_bytes)
        if sum(sizes) > self._limits.max_total_bytes:
            raise _too_large(f"all files have {sum(sizes)} bytes", "max_total_bytes", self._limits.max_total_bytes)


def count_kept(preparation: Preparation, rule: KeepRule, gone: threading.Event) -> list[list[int]]:
    """Tokens that the rule keeps of every plane, by item; reads every pixel, and no more than a few planes at a time.

    Raises:
        PlatformError: CANCELLED.
    """
    kept: list[list[int]] = [[] for _ in preparation.items]
    for plane in preparation.planes():
        if gone.is_set():
            raise PlatformError(ErrorCode.CANCELLED, "the caller left while its planes were counted")
        item = preparation.items[plane.item]
        mask = rule.keep(
            plane.novelty,
            plane=plane.plane,
            num_planes=item.num_planes,
            compressible=item.kind is not Kind.IMAGE,
        )
        kept[plane.item].append(int(mask.sum()))
    return kept


def _too_large(what: str, setting: str, limit: int) -> PlatformError:
    return PlatformError(ErrorCode.TOO_LARGE, f"{what}, more than {setting} = {limit}; send less at once")
