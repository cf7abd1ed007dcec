"""The header reader at the door: whole files pass whatever their encoding, cut ones do not."""

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file, get_testdata_files
from pydicom.errors import InvalidDicomError

from hulumed_platform.archive.header import InstanceHeader, read_header
from hulumed_platform.core.errors import ErrorCode, PlatformError
from tests.gateway.dicom import instance

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


def read(data: bytes) -> InstanceHeader:
    return read_header(io.BytesIO(data), len(data), max_bytes=1 << 30)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_instance_is_read(name: str) -> None:
    """Big endian, implicit VR under a JPEG syntax, deflated, encapsulated, and without pixels."""
    data = contents(name)
    header = read(data)
    assert header.sop_instance_uid
    assert header.transfer_syntax_uid


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is wrong in its samples on purpose
def test_every_sample_file_reads_as_by_pydicom() -> None:
    """Hundreds of files of many devices: the same UIDs, and none refused that pydicom finds whole and named."""
    count = 0
    for name in get_testdata_files("**/*.dcm"):
        data = Path(name).read_bytes()
        try:
            dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
        except InvalidDicomError:
            continue
        uids = [str(dataset.get(name) or "") for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
        if not all((*uids, dataset.get("SOPClassUID"))) or Path(name).stem.endswith(("_truncated", "_too_short")):
            continue
        header = read(data)
        assert [header.study_instance_uid, header.series_instance_uid, header.sop_instance_uid] == uids
        assert (header.modality or "", header.transfer_syntax_uid) == (
            str(dataset.get("Modality") or ""),
            str(dataset.file_meta.TransferSyntaxUID),
        )
        count += 1
    assert count > 100


@pytest.mark.parametrize("name", [*WHOLE, "test-SR.dcm", "rtplan.dcm", "rtdose.dcm", "MR_small_implicit.dcm"])
def test_instance_that_was_cut_off_is_refused(name: str) -> None:
    """A study with a cut slice, or half a structured report, must not be acknowledged as stored.

    Between two elements before the pixels, or in padding after them, a cut cannot be seen: that is one in a hundred.
    """
    data = contents(name)
    places = range(0, len(data), max(1, len(data) // 200))
    passed = 0
    for place in places:
        with suppress(PlatformError):
            read(data[:place])
            passed += 1
    assert passed <= 0.03 * len(places)


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_damaged_instance_is_read_or_refused(data: st.DataObject) -> None:
    """Lengths that lie, sequences without end, tags of delimiters in the wrong place."""
    damaged = bytearray(contents(data.draw(st.sampled_from(["reportsi.dcm", "MR_small_RLE.dcm", "image_dfl.dcm"]))))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(128, len(damaged) - 1))
        damaged[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0xFE, 0xFF, 0xE0, 0xDD]))
    with suppress(PlatformError):
        read(bytes(damaged))


def test_deflated_bomb_is_refused() -> None:
    """Kilobytes that unfold to gigabytes neither fill the memory nor the disk."""
    head = contents("image_dfl.dcm")
    inflated = b"\xe0\x7f\x10\x00OB\0\0" + struct.pack("<I", 50_000_000) + bytes(50_000_000)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    meta_end = head.index(b"1.2.840.10008.1.2.1.99") + 22
    meta = head[:132] + head[132:144] + head[head.index(b"\x02\x00\x10\x00") : meta_end]
    bomb = meta + deflater.compress(inflated) + deflater.flush()
    with pytest.raises(PlatformError, match="unfolds to more than 1,000,000 bytes") as caught:
        read_header(io.BytesIO(bomb), len(bomb), max_bytes=1_000_000)
    assert caught.value.code is ErrorCode.TOO_LARGE


@pytest.mark.parametrize("syntax", ["1.2.840.113619.5.2", "1.2.3", "1.2.840.10008.1.9"])
def test_transfer_syntax_that_nobody_knows_is_kept(syntax: str) -> None:
    """The door decodes no pixels, so what ingest can read is not its business."""
    explicit = b"1.2.840.10008.1.2.1\0"
    data = instance().replace(explicit, syntax.encode().ljust(len(explicit), b"\0"))
    assert read(data).transfer_syntax_uid == syntax


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what we write on purpose
@pytest.mark.parametrize("modality", ["ct", "CT/MR", "X" * 17])
def test_modality_that_is_no_code_string_is_left_out(modality: str) -> None:
    """It is a hint for a list; the instance is as good without."""
    assert read(instance(Modality=modality)).modality is None


def test_message_names_the_missing_attribute_and_no_value() -> None:
    """The sender learns what to mend; the log learns nothing of the patient."""
    data = contents("no_meta_group_length.dcm")
    with pytest.raises(PlatformError, match="the instance has no SOPClassUID"):
        read(data)
