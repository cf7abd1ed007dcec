"""Every file that pydicom brings: shown, or refused with a typed error."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_files
from pydicom.pixels.utils import pixel_array

from hulumed_platform.imaging.dicom.isolated import IsolatedDecoder
from hulumed_platform.imaging.errors import ImagingError
from tests.imaging.samples import media, prepared, real

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
    with IsolatedDecoder() as isolated:
        (values,) = isolated.frames(real("JPEG-LL.dcm"), [0])
        np.testing.assert_array_equal(values, pixel_array(real("JPEG-LL.dcm"), decoding_plugin="gdcm"))
        content = real("JPEG-LL.dcm").read_bytes()
        (tmp_path / "cut.dcm").write_bytes(content[: len(content) // 2])
        with pytest.raises(EOFError):
            list(isolated.frames(tmp_path / "cut.dcm", [0]))
        assert len(list(isolated.frames(real("JPEG-LL.dcm"), [0]))) == 1
