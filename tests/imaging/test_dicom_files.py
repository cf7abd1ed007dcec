"""Every file that pydicom brings: shown, or refused with a typed error."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.data import get_testdata_files
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import iter_pixels, pixel_array
from pydicom.uid import RLELossless

from hulumed_platform.imaging.dicom.encapsulated import frame_offsets
from hulumed_platform.imaging.dicom.isolated import IsolatedDecoder
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


def test_lossless_jpeg_is_decoded_in_a_process_of_its_own(tmp_path: Path) -> None:
    """The values are those that the decoder gives without the pipe between, and broken bytes are an error."""
    with IsolatedDecoder(60) as isolated:
        (values,) = isolated.frames(real("JPEG-LL.dcm"), [0])
        np.testing.assert_array_equal(values, pixel_array(real("JPEG-LL.dcm"), decoding_plugin="gdcm"))
        content = real("JPEG-LL.dcm").read_bytes()
        (tmp_path / "cut.dcm").write_bytes(content[: len(content) // 2])
        with pytest.raises(EOFError):
            list(isolated.frames(tmp_path / "cut.dcm", [0]))
        assert len(list(isolated.frames(real("JPEG-LL.dcm"), [0]))) == 1


def test_lossless_jpeg_that_is_never_done_is_given_up() -> None:
    """The stopwatch cannot look into a decoder."""
    with IsolatedDecoder(-1) as isolated, pytest.raises(EOFError):
        list(isolated.frames(real("JPEG-LL.dcm"), [0] * 1000))


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
    offsets = frame_offsets(path, 5)
    assert (offsets is None) == has_table
    options: dict[str, Any] = {} if offsets is None else {"extended_offsets": offsets}
    for index, values in zip([4, 0, 2], iter_pixels(path, indices=[4, 0, 2], **options), strict=True):
        np.testing.assert_array_equal(values, stored[index])
