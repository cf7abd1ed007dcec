"""Every file that pydicom brings: shown, or refused with a typed error."""

import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_files
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.pixels.utils import iter_pixels, pixel_array
from pydicom.uid import RLELossless

from hulumed_platform.imaging.dicom.codestream import J2K_START, stated_sizes
from hulumed_platform.imaging.dicom.encapsulated import encoded_frames, frame_offsets
from hulumed_platform.imaging.dicom.isolated import IsolatedDecoder
from hulumed_platform.imaging.dicom.pixels import ISOLATED
from hulumed_platform.imaging.errors import ImagingError
from tests.imaging.samples import ct_slice, media, prepared, real, write

FILES = sorted({Path(name) for name in get_testdata_files() if Path(name).is_file()})
REFUSED_PIXELS = {
    "JPEG-lossy.dcm",  # 12-bit lossy JPEG: no permissively licensed decoder
    "JPGExtended.dcm",
    "JPEG2000-embedded-sequence-delimiter.dcm",
    "MR_truncated.dcm",
    "badVR.dcm",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_is_shown_or_refused(path: Path, tmp_path: Path) -> None:
    """Nothing but `ImagingError` comes out, no warning either, and only files known to be broken fail to decode."""
    said = ""
    try:
        for plane in prepared(media(path), scratch=tmp_path).planes():
            assert plane.patches.shape[1] == 588
    except ImagingError as error:
        said = str(error)
    assert "cannot be read" not in said or path.name in REFUSED_PIXELS


@pytest.mark.parametrize("name", ["JPEG-LL.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_what_decoders_break_on_is_decoded_in_a_process_of_its_own(tmp_path: Path, name: str) -> None:
    """The values are those that the decoder gives without the pipe between, and broken bytes are an error.

    CharLS, cut off in the middle, once computed for ten seconds under the lock of the interpreter.
    """
    path, content = real(name), real(name).read_bytes()
    plugin = ISOLATED[dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID]
    (tmp_path / "cut.dcm").write_bytes(content[: len(content) // 2])
    with IsolatedDecoder(60) as isolated:
        (values,) = isolated.frames(path, [0], plugin)
        np.testing.assert_array_equal(values, pixel_array(path, decoding_plugin=plugin))
        with pytest.raises(EOFError):
            list(isolated.frames(tmp_path / "cut.dcm", [0], plugin))
        assert len(list(isolated.frames(path, [0], plugin))) == 1


def test_lossless_jpeg_that_is_never_done_is_given_up() -> None:
    """The stopwatch cannot look into a decoder."""
    with IsolatedDecoder(-1) as isolated, pytest.raises(EOFError):
        list(isolated.frames(real("JPEG-LL.dcm"), [0] * 1000, "gdcm"))


@pytest.mark.parametrize("has_table", [True, False])
def test_frames_are_found_without_an_offset_table(tmp_path: Path, has_table: bool) -> None:
    """In any order; pydicom alone walks through all of a file for every frame of it."""
    stored = np.arange(5 * 32 * 48, dtype=np.int16).reshape(5, 32, 48)
    dataset = ct_slice(stored[0], NumberOfFrames=5)
    dataset.PixelData = stored.tobytes()
    dataset.compress(RLELossless, encoding_plugin="pydicom")
    frames = [bytes(frame) for frame in generate_frames(dataset.PixelData, number_of_frames=5)]
    dataset.PixelData = encapsulate(frames, has_bot=has_table)
    path = write(tmp_path / "f.dcm", dataset)
    offsets = frame_offsets(path, dataset, 5)
    assert (offsets is None) == has_table
    assert list(encoded_frames(path, [4, 0, 2], 5, offsets)) == [frames[4], frames[0], frames[2]]
    for index, values in zip([4, 0, 2], iter_pixels(path, indices=[4, 0, 2], extended_offsets=offsets), strict=True):
        np.testing.assert_array_equal(values, stored[index])


def test_an_extended_offset_table_is_used(tmp_path: Path) -> None:
    """Where a file has one, its Basic Offset Table must be empty (PS3.3 C.7.6.3.1.8)."""
    dataset = dcmread(real("emri_small_jpeg_2k_lossless.dcm"))
    frames = list(generate_frames(dataset.PixelData, number_of_frames=10))
    content, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    dataset.PixelData = content
    with_table, without = (
        [plane.patches.tobytes() for plane in prepared(media(path), scratch=tmp_path).planes()]
        for path in (write(tmp_path / "f.dcm", dataset), real("emri_small_jpeg_2k_lossless.dcm"))
    )
    assert with_table == without


@pytest.mark.parametrize(
    ("name", "marker", "at", "claim", "said"),
    [
        ("MR_small_jpeg_ls_lossless.dcm", b"\xff\xf7", 5, struct.pack(">HH", 20_000, 20_000), "20000 x 20000 x 1"),
        ("SC_rgb_jpeg_dcmtk.dcm", b"\xff\xc0", 5, struct.pack(">HH", 20_000, 20_000), "20000 x 20000 x 3"),
        ("JPEG-LL.dcm", b"\xff\xc3", 5, struct.pack(">HH", 20_000, 20_000), "20000 x 20000 x 1"),
        ("MR_small_jp2klossless.dcm", J2K_START, 8, struct.pack(">LL", 20_000, 20_000), "20000 x 20000 x 1"),
        ("MR_small_jp2klossless.dcm", J2K_START, 40, struct.pack(">H", 16_384), "64 x 64 x 16384"),
    ],
)
def test_a_codestream_larger_than_its_header_is_not_decoded(
    tmp_path: Path, *, name: str, marker: bytes, at: int, claim: bytes, said: str
) -> None:
    """Decoders believe the codestream: 20,000 x 20,000 pixels in a file of 6 kB were gigabytes of memory."""
    content = bytearray(real(name).read_bytes())
    place = content.index(marker, content.index(b"\xe0\x7f\x10\x00")) + at
    content[place : place + len(claim)] = claim
    (tmp_path / "bomb.dcm").write_bytes(content)
    with pytest.raises(ImagingError, match=f"the compressed image {said}"):
        list(prepared(media(tmp_path / "bomb.dcm"), scratch=tmp_path).planes())


def test_a_jpeg_2000_file_in_place_of_a_codestream_is_read(tmp_path: Path) -> None:
    """DICOM forbids it, some write it: the boxes are walked through to the codestream."""
    dataset = dcmread(real("MR_small_jp2klossless.dcm"))
    (codestream,) = generate_frames(dataset.PixelData, number_of_frames=1)
    boxes = [(b"jP  ", b"\r\n\x87\n"), (b"ftyp", b"jp2 \0\0\0\0jp2 "), (b"jp2c", codestream)]
    file = b"".join(struct.pack(">L4s", 8 + len(content), kind) + content for kind, content in boxes)
    assert list(stated_sizes(file)) == list(stated_sizes(codestream)) == [(64, 64, 1)]
