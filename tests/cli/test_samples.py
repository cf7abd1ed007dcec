from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest

from hulumed_platform.cli.samples import find_template, studies, write_brain


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in write_brain(tmp_path_factory.mktemp("brain"))]


def test_every_study_of_the_demo_comes_with_the_packages(tmp_path: Path) -> None:
    """The demo runs without a network: the files are there, each study with its own UID."""
    found = studies(tmp_path)
    uids = [pydicom.dcmread(study.files[0], stop_before_pixels=True).StudyInstanceUID for study in found]
    modalities = [pydicom.dcmread(study.files[0], stop_before_pixels=True).Modality for study in found]
    assert modalities == ["CR", "CT", "US", "MR"]
    assert len(set(uids)) == len(uids)


def test_the_brain_lies_in_the_patients_axes(brain: list[pydicom.Dataset]) -> None:
    """NIfTI counts to the right, front and top, DICOM to the left, back and top: a wrong sign mirrors the patient.

    The same points in the patient, in millimetres, have the same value in both.
    """
    template: Any = nibabel.load(find_template())
    values, to_voxel = np.asarray(template.dataobj), np.linalg.inv(template.affine)
    for k, row, column in ((60, 50, 40), (90, 120, 150), (120, 200, 70), (72, 98, 98)):
        left, posterior, superior = (float(v) for v in brain[k].ImagePositionPatient)
        x, y, z = (to_voxel @ (-(left + column), -(posterior + row), superior, 1))[:3].round().astype(int)
        assert brain[k].pixel_array[row, column] == values[x, y, z]
    assert (brain[0].Rows, brain[0].Columns, len(brain)) == (233, 197, 189)


def test_the_brain_is_one_series_of_distinct_instances(brain: list[pydicom.Dataset]) -> None:
    """A study that was posted twice must not double: the UIDs are the same every time."""
    assert len({slice_.SeriesInstanceUID for slice_ in brain}) == 1
    assert len({slice_.SOPInstanceUID for slice_ in brain}) == len(brain)
    assert all(slice_.SOPInstanceUID == slice_.file_meta.MediaStorageSOPInstanceUID for slice_ in brain)


def test_the_same_brain_is_written_twice(tmp_path: Path) -> None:
    """Equal bytes: the second post of the demo is answered as already stored, not as a conflict."""
    first, second = write_brain(tmp_path / "a"), write_brain(tmp_path / "b")
    assert [path.read_bytes() for path in first[::40]] == [path.read_bytes() for path in second[::40]]
    assert np.any(pydicom.dcmread(first[90]).pixel_array)
