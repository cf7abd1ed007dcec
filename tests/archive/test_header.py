"""The header reader at the door: whole files pass whatever their encoding, cut ones do not."""

import io
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from hulumed_platform.archive.header import read_header
from hulumed_platform.core.errors import PlatformError

WHOLE = [
    "CT_small.dcm",
    "ExplVR_BigEnd.dcm",
    "JPEG2000.dcm",
    "MR_small_RLE.dcm",
    "SC_rgb_jpeg.dcm",
    "color3d_jpeg_baseline.dcm",
    "image_dfl.dcm",
    "reportsi.dcm",
]


def contents(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


@pytest.mark.parametrize("name", WHOLE)
def test_whole_instance_is_read(name: str) -> None:
    """Big endian, implicit VR under a JPEG syntax, deflated, encapsulated, and without pixels."""
    data = contents(name)
    header = read_header(io.BytesIO(data), len(data))
    assert header.sop_instance_uid
    assert header.transfer_syntax_uid


@pytest.mark.parametrize("name", ["CT_small.dcm", "ExplVR_BigEnd.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm"])
@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.98])
def test_instance_that_was_cut_off_is_refused(name: str, kept: float) -> None:
    """A study with a cut slice must not be acknowledged as stored."""
    data = contents(name)
    cut = data[: int(len(data) * kept)]
    with pytest.raises(PlatformError, match=r"cut off|has no"):
        read_header(io.BytesIO(cut), len(cut))


def test_message_names_the_missing_attribute_and_no_value() -> None:
    """The sender learns what to mend; the log learns nothing of the patient."""
    data = contents("no_meta_group_length.dcm")
    with pytest.raises(PlatformError, match="the instance has no SOPClassUID"):
        read_header(io.BytesIO(data), len(data))
