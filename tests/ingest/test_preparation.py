"""Preparation: stored objects become planes, every refusal is typed, and nothing stays behind."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.imaging.types import Limits, PrepareOptions, TokenBudget
from hulumed_platform.ingest.preparation import Preparer, StoredFile, StoredMedia, count_kept
from hulumed_platform.model.compression import KeepRule
from hulumed_platform.storage.local import LocalObjects
from tests.imaging import samples

TENANT = "default"


class CopyingObjects(LocalObjects):
    """A local store that hands out copies, as S3 does, and counts them."""

    fetched = 0

    def materialise(self, tenant: str, digest: str, folder: Path) -> Path:
        type(self).fetched += 1
        copy = folder / digest.removeprefix("sha256:")
        copy.write_bytes(self.read(tenant, digest))
        return copy


@pytest.fixture
def objects(tmp_path: Path) -> CopyingObjects:
    CopyingObjects.fetched = 0
    return CopyingObjects(tmp_path / "objects")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


@pytest.fixture
def make(objects: CopyingObjects, scratch: Path) -> Callable[..., Preparer]:
    def preparer(**limits: int) -> Preparer:
        return Preparer(
            objects,
            limits=replace(Limits(), **limits),
            budget=TokenBudget(),
            scratch_dir=scratch,
            fetch_threads=3,
        )

    return preparer


def stored(objects: LocalObjects, *paths: Path, options: PrepareOptions = PrepareOptions()) -> StoredMedia:  # noqa: B008
    digests = [objects.put(TENANT, [path.read_bytes()]).digest for path in paths]
    files = tuple(StoredFile(digest, f"file {i} of {len(paths)}") for i, digest in enumerate(digests, start=1))
    return StoredMedia(files, None, options)


def planes(preparer: Preparer, *media: StoredMedia, gone: bool = False) -> int:
    event = threading.Event()
    if gone:
        event.set()
    with preparer.open(TENANT, media, timeout_s=60, gone=event) as preparation:
        return len(list(preparation.planes()))


def series(tmp_path: Path) -> list[Path]:
    return samples.ct_series(tmp_path, [0.0, 5.0, 10.0])


def test_objects_become_planes_and_leave_nothing(
    make: Callable[..., Preparer], objects: CopyingObjects, scratch: Path, tmp_path: Path
) -> None:
    """Copies live as long as the request; an object named twice is fetched once."""
    medium = stored(objects, *series(tmp_path))
    assert planes(make(), medium, medium) == 6
    assert objects.fetched == 3
    assert not list(scratch.iterdir())


def test_too_many_bytes_are_refused_before_they_are_fetched(
    make: Callable[..., Preparer], objects: CopyingObjects, tmp_path: Path
) -> None:
    """What a caller says of sizes is not believed, and a huge study does not fill the disk first."""
    medium = stored(objects, *series(tmp_path))
    for limits, words in [
        ({"max_bytes": 100}, "file 1 of 3 has .* max_bytes = 100"),
        ({"max_total_bytes": 5000}, "all files"),
    ]:
        with pytest.raises(PlatformError, match=words) as caught:
            planes(make(**limits), medium)
        assert caught.value.code is ErrorCode.TOO_LARGE
    assert objects.fetched == 0


REFUSED: dict[ErrorCode, tuple[PrepareOptions, dict[str, int]]] = {
    ErrorCode.INVALID_INPUT: (PrepareOptions(fps=-1), {}),
    ErrorCode.UNSUPPORTED: (PrepareOptions(), {}),
    ErrorCode.TOO_LARGE: (PrepareOptions(), {"max_plane_pixels": 10}),
}


@pytest.mark.parametrize("code", REFUSED)
def test_imaging_refusals_keep_their_kind(
    make: Callable[..., Preparer], objects: CopyingObjects, tmp_path: Path, code: ErrorCode
) -> None:
    """Callers tell a broken file from a large one by the code; the scratch folder is emptied all the same."""
    options, limits = REFUSED[code]
    path = samples.picture(tmp_path / "picture.png", np.zeros((40, 40, 3), np.uint8))
    if code is ErrorCode.UNSUPPORTED:
        path.write_bytes(b"neither picture nor film")
    with pytest.raises(PlatformError) as caught:
        planes(make(**limits), stored(objects, path, options=options))
    assert caught.value.code is code
    assert not list((tmp_path / "scratch").iterdir())


def test_caller_that_left_stops_fetching_and_counting(
    make: Callable[..., Preparer], objects: CopyingObjects, tmp_path: Path
) -> None:
    """Neither gigabytes nor hours are spent for nobody."""
    medium = stored(objects, *series(tmp_path))
    with pytest.raises(PlatformError) as caught:
        planes(make(), medium, gone=True)
    assert caught.value.code is ErrorCode.CANCELLED
    gone = threading.Event()
    with make().open(TENANT, [medium], timeout_s=60, gone=gone) as opened:
        gone.set()
        with pytest.raises(PlatformError, match="counted"):
            count_kept(opened, KeepRule(), gone)


def test_pixels_that_break_on_the_way_are_typed(
    make: Callable[..., Preparer], objects: CopyingObjects, tmp_path: Path
) -> None:
    """Headers are read first, pixels while they stream: a truncated picture is refused as well then."""
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    path = samples.picture(tmp_path / "picture.png", noise)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(PlatformError) as caught:
        planes(make(), stored(objects, path))
    assert caught.value.code is ErrorCode.INVALID_INPUT


def test_caller_with_little_time_shortens_the_limit(
    make: Callable[..., Preparer], objects: CopyingObjects, tmp_path: Path
) -> None:
    """A deadline is not found out only after minutes of decoding."""
    medium = stored(objects, *series(tmp_path))
    with (
        pytest.raises(PlatformError) as caught,
        make().open(TENANT, [medium], timeout_s=1e-6, gone=threading.Event()) as o,
    ):
        list(o.planes())
    assert caught.value.code is ErrorCode.DEADLINE


def test_key_changes_with_all_that_changes_planes(
    make: Callable[..., Preparer], objects: CopyingObjects, tmp_path: Path
) -> None:
    """A cache must not answer with the planes of another window, tenant, file order or sampling."""
    paths = series(tmp_path)
    medium = stored(objects, *paths)
    keys = [
        make().key_parts(TENANT, [medium]),
        make().key_parts("other", [medium]),
        make().key_parts(TENANT, [medium, medium]),
        make().key_parts(TENANT, [stored(objects, *reversed(paths))]),
        make().key_parts(TENANT, [stored(objects, *paths, options=PrepareOptions(window=samples.WHOLE))]),
        make(max_planes=2).key_parts(TENANT, [medium]),
    ]
    assert len({repr(key) for key in keys}) == len(keys)
    assert make(max_items=3).key_parts(TENANT, [medium]) == keys[0]
