"""Files of one instance differ by their meta information; instances differ by a byte of their data sets."""

from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from hulumed_platform.archive.sameness import have_same_data_set


def contents(name: str = "CT_small.dcm") -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


def with_other_meta(data: bytes) -> bytes:
    dataset = dcmread(BytesIO(data))
    dataset.file_meta.ImplementationVersionName = "ANOTHER"
    dataset.file_meta.SourceApplicationEntityTitle = "MODALITY"
    dataset.preamble = b"\x01" * 128
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def same(one: bytes, other: bytes) -> bool:
    return have_same_data_set(BytesIO(one), BytesIO(other))


def test_meta_information_makes_no_difference() -> None:
    """A middle-box writes its own, and sends what it was sent."""
    data = contents()
    other = with_other_meta(data)
    assert other != data
    assert same(data, other)


@pytest.mark.parametrize("place", [600, -1])
def test_any_byte_of_the_data_set_does(place: int) -> None:
    """The first as well as the last one."""
    data = bytearray(contents())
    data[place] ^= 1
    assert not same(bytes(data), contents())
    assert not same(contents()[:-1], contents())


def test_what_cannot_be_told_is_not_the_same() -> None:
    """Better refused by mistake than thrown away by mistake."""
    without = contents("no_meta_group_length.dcm")
    assert not same(without, without)
    assert not same(b"", b"")
    assert not same(contents()[:200], contents()[:200])
