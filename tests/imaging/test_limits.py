"""Bad and oversized input: one typed error that names the limit, before memory or time is spent."""

import gzip
import struct
import time
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from hulumed_platform.imaging.context import Stopwatch
from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.types import Limits, Media, PrepareOptions, Window
from tests.imaging.samples import LIMITS, ct_series, ct_slice, media, nifti, picture, prepared, real, video, write

GREY = np.full((56, 56), 99, np.uint8)


def refused(medium: Media, scratch: Path, limits: Limits = LIMITS) -> ImagingError:
    """The error that preparing and reading ends in."""
    with pytest.raises(ImagingError) as caught:
        list(prepared(medium, scratch=scratch, limits=limits).planes())
    return caught.value


def png_claiming(path: Path, width: int, height: int) -> Path:
    """A small PNG whose header claims a picture of any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 100_000)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("side", [9_000, 60_000, 2_000_000_000])
def test_a_png_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    """Whether Pillow warns, refuses or says nothing at that size."""
    assert refused(media(png_claiming(tmp_path / "p.png", side, side)), tmp_path).kind == "too_large"


def test_a_gzip_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    """Counted while it streams, never held; what was written stays below the limit."""
    head = nifti(tmp_path / "v.nii", np.zeros((64, 64, 64), np.uint8)).read_bytes()
    with gzip.open(tmp_path / "v.nii.gz", "wb", compresslevel=1) as packed:
        packed.write(head)
        for _ in range(100):
            packed.write(bytes(1 << 20))
    error = refused(media(tmp_path / "v.nii.gz"), tmp_path)
    assert (error.kind, "max_expansion = 200" in str(error)) == ("too_large", True)
    small = refused(media(tmp_path / "v.nii.gz"), tmp_path, replace(LIMITS, max_bytes=1 << 24, max_expansion=1e6))
    assert "max_bytes" in str(small)


def test_a_deflated_dicom_bomb_is_counted_before_it_is_inflated(tmp_path: Path) -> None:
    """Its reader would inflate all of it at once."""
    dataset = ct_slice(np.zeros((64, 64), np.int16))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.add_new(0x00091010, "OB", bytes(80 << 20))
    path = write(tmp_path / "d.dcm", dataset)
    del dataset
    tracemalloc.start()
    error = refused(media(path), tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.kind == "too_large"
    assert peak < 40 << 20
    small = refused(media(path), tmp_path, replace(LIMITS, max_bytes=1 << 24, max_expansion=1e6))
    assert "max_bytes" in str(small)


def test_what_many_files_decompress_to_is_counted_together(tmp_path: Path) -> None:
    """A hundred volumes of zeros are small files and a full disk."""
    volume = nifti(tmp_path / "v.nii.gz", np.zeros((100, 100, 100), np.uint8))
    limits = replace(LIMITS, max_total_bytes=2_500_000)
    assert len(prepared(media([volume] * 2), scratch=tmp_path, limits=limits).items) == 2
    assert "max_total_bytes = 2500000" in str(refused(media([volume] * 3), tmp_path, limits))


def test_dicom_claims_are_not_believed(tmp_path: Path) -> None:
    """4 GB of pixels in a small file, as one frame, as many frames, as a huge frame count."""
    for claim in ({"Rows": 65535, "Columns": 65535}, {"NumberOfFrames": 99_999, "Rows": 512, "Columns": 512}):
        path = write(tmp_path / "i.dcm", ct_slice(np.zeros((32, 48), np.int16), **claim))
        assert refused(media(path), tmp_path).kind == "too_large"
    path = write(tmp_path / "i.dcm", ct_slice(np.zeros((32, 48), np.int16), NumberOfFrames=2_000_000_000))
    assert "2000000000 frames" in str(refused(media(path), tmp_path))


@pytest.mark.parametrize("claim", [{"Rows": 64}, {"NumberOfFrames": 3}, {"BitsAllocated": 32, "BitsStored": 32}])
def test_too_few_pixels_are_refused(tmp_path: Path, claim: dict[str, object]) -> None:
    """A header that promises a little more than there is."""
    assert refused(media(write(tmp_path / "i.dcm", ct_slice(np.zeros((32, 48), np.int16), **claim))), tmp_path)


def test_nifti_claims_are_not_believed(tmp_path: Path) -> None:
    """32767 ** 3 voxels in a small file."""
    data = bytearray(nifti(tmp_path / "v.nii", np.zeros((8, 8, 8), np.uint8)).read_bytes())
    data[40:48] = struct.pack("<4h", 3, 32767, 32767, 32767)
    (tmp_path / "v.nii").write_bytes(data)
    assert "ends before its voxels" in str(refused(media(tmp_path / "v.nii"), tmp_path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"What is wrong with this patient?\n", "plain text"),
        ("Überweisung: später".encode(), "plain text"),
        (b"%PDF-1.7\n\x80", "PDF"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"PK\x03\x04\x14\0", "zip"),
        (bytes(range(256)) * 20, "none of DICOM"),
        (gzip.compress(b"not a volume"), "not NIfTI"),
        (b"\x1f\x8b", "not NIfTI"),
        (b"\x89PNG\r\n\x1a\n", "cannot be read"),
        (b"\0" * 128 + b"DICM", "no image"),
        (b"\x1a\x45\xdf\xa3", "cannot be read"),
        (b"\0\0\0\x18ftypmp42", "cannot be read"),
    ],
)
def test_what_is_no_image_is_told_what_to_do(tmp_path: Path, content: bytes, said: str) -> None:
    """Empty files, text, archives, bare magic numbers."""
    (tmp_path / "f").write_bytes(content)
    assert said in str(refused(media(tmp_path / "f"), tmp_path))


def test_every_limit_names_itself_and_its_value(tmp_path: Path) -> None:
    """So that an operator knows what to raise."""
    one = picture(tmp_path / "p.png", GREY)
    series = ct_series(tmp_path, [0, 5, 10])
    cases = [
        (media(one), {"max_bytes": 10}, "max_bytes = 10"),
        (media(series), {"max_total_bytes": 5000}, "max_total_bytes = 5000"),
        (media(one), {"max_plane_pixels": 3000}, "max_plane_pixels = 3000"),
        (media(real("RG3_J2KI.dcm")), {"max_plane_pixels": 10**6}, "max_plane_pixels = 1000000"),
        (media(video(tmp_path / "v.mp4")), {"max_plane_pixels": 5000}, "max_plane_pixels = 5000"),
        (media([one] * 3), {"max_items": 2}, "max_items = 2"),
        (media(series, num_planes=99), {"max_planes": 50}, "max_planes = 50"),
        (media(series), {"timeout_s": 0.0}, "timeout_s = 0"),
    ]
    for medium, limit, said in cases:
        error = refused(medium, tmp_path, replace(LIMITS, **limit))  # type: ignore[arg-type]
        assert said in str(error)
        assert error.kind in ("too_large", "timeout")


def test_planes_over_the_limit_are_sampled_with_a_note(tmp_path: Path) -> None:
    """Nobody asked for a number, so this is no error."""
    limits = replace(LIMITS, max_planes=2)
    (item,) = prepared(media(ct_series(tmp_path, [0, 5, 10])), scratch=tmp_path, limits=limits).items
    assert item.num_planes == 2
    assert "2 of 3 slices, evenly spread" in {note.text for note in item.notes}


@pytest.mark.parametrize(
    "options",
    [
        {"num_planes": 0},
        {"fps": 0.0},
        {"fps": float("nan")},
        {"window": Window(40, 0)},
        {"window": Window(float("inf"), 1)},
        {"start_s": -1.0},
        {"start_s": 3.0, "end_s": 2.0},
    ],
)
def test_impossible_options_are_refused(tmp_path: Path, options: dict[str, object]) -> None:
    """Before any file is read."""
    medium = media(video(tmp_path / "v.mp4", num_frames=3), **options)
    with pytest.raises(ImagingError):
        prepared(medium, scratch=tmp_path)


def test_a_slow_consumer_does_not_run_into_the_timeout(tmp_path: Path) -> None:
    """Waiting for the encoder is not preparing."""
    stopwatch = Stopwatch(0.05)
    with stopwatch.stopped():
        time.sleep(0.1)
    stopwatch.check()


def test_over_budget_is_noted(tmp_path: Path) -> None:
    """The floor of tokens for each plane can break the budget: then say so on every item."""
    paths = ct_series(tmp_path, [float(z) for z in range(1100)])
    (item,) = prepared(media(paths, num_planes=1100), scratch=tmp_path).items
    assert item.tokens_per_plane * item.num_planes > 16384
    assert "over_budget" in {note.code for note in item.notes}


def test_a_long_series_streams_in_bounded_memory(tmp_path: Path) -> None:
    """A plane is decoded when it is asked for, and none is kept: ten times the slices, about the same memory."""

    def peak_bytes(count: int) -> int:
        preparation = prepared(media(paths[:count], num_planes=count), scratch=tmp_path)
        tracemalloc.start()
        for _ in preparation.planes():
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    path = write(tmp_path / "big.dcm", ct_slice(np.zeros((256, 256), np.int16)))
    assert path.exists()
    paths = ct_series(tmp_path, [float(z) for z in range(400)])
    assert peak_bytes(400) < 2 * peak_bytes(40) + (1 << 20)


def test_defaults_are_usable() -> None:
    """Options and limits have defaults for every field."""
    assert PrepareOptions() == PrepareOptions()
    assert Limits().max_bytes < Limits().max_total_bytes
