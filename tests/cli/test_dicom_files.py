import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from hulumed_platform.cli.dicom_files import DicomFile, batches, scan
from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.post import reason

_CT = Path(str(get_testdata_file("CT_small.dcm", download=False)))
_MR = Path(str(get_testdata_file("MR_small.dcm", download=False)))


def test_folders_are_searched_and_other_files_listed(tmp_path: Path) -> None:
    """A CD of a patient has viewers and text on it: what is not DICOM is told, not posted and not fatal."""
    (tmp_path / "IMAGES").mkdir()
    (tmp_path / "IMAGES" / "1").write_bytes(_CT.read_bytes())
    (tmp_path / "README.TXT").write_text("a viewer")
    (tmp_path / "truncated.dcm").write_bytes(_CT.read_bytes()[:140])
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")

    found = scan([tmp_path, _MR])

    assert {instance.path for instance in found.instances} == {tmp_path / "IMAGES" / "1", _MR}
    assert {path.name for path in found.others} == {"README.TXT", "truncated.dcm", "DICOMDIR"}


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """A typing error is told before anything is posted."""
    with pytest.raises(CliError, match="no such file or folder"):
        scan([_CT, tmp_path / "missing"])


def test_what_can_only_block_is_not_opened(tmp_path: Path) -> None:
    """A pipe among the paths would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CliError, match="neither a file nor a folder"):
        scan([tmp_path / "pipe"])
    assert scan([tmp_path]).others == ()


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 5), st.integers(1, 60))
def test_batches_lose_nothing_and_stay_small(sizes: list[int], max_files: int, max_bytes: int) -> None:
    """Every instance is posted once, in order; a batch is over the limit only when it is one file."""
    instances = [DicomFile(Path(str(n)), size, "1.2", f"1.2.{n}") for n, size in enumerate(sizes)]
    cut = list(batches(instances, max_files=max_files, max_bytes=max_bytes))
    assert [instance for batch in cut for instance in batch] == instances
    for batch in cut:
        assert len(batch) <= max_files
        assert len(batch) == 1 or sum(instance.size_bytes for instance in batch) <= max_bytes


@pytest.mark.parametrize(
    ("code", "words"), [(0xC122, "transfer syntax"), (0xA710, "resources"), (0xC123, "understood"), (0x0999, "refused")]
)
def test_failure_reasons_are_told_in_words(code: int, words: str) -> None:
    """PS3.4 gives ranges of codes: the exact one is told too."""
    assert words in reason(code)
    assert f"{code:04X}" in reason(code)
