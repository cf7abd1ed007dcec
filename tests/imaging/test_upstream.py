"""The published preprocessing, kept for comparing: its defects included."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.types import Axis, Preprocessing
from tests.imaging.samples import WHOLE, media, nifti, picture, pictures, prepared, real, video

UPSTREAM = {"preprocessing": Preprocessing.UPSTREAM}


def test_height_and_width_of_pictures_are_swapped(tmp_path: Path) -> None:
    """`height, width = image.size`: a lying picture is resized to a standing one."""
    path = picture(tmp_path / "p.png", np.zeros((56, 112, 3), np.uint8))
    (item,) = prepared(media(path, **UPSTREAM), scratch=tmp_path).items
    assert (item.height, item.width) == (8, 4)


def test_pictures_are_taken_as_they_lie_in_the_file(tmp_path: Path) -> None:
    """EXIF is not looked at, neither for the pixels nor for their shape; 16 bits are cut off, not windowed."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((56, 112, 3), np.uint8)
    pixels[:, :56] = 255
    preparation = prepared(media(picture(tmp_path / "p.png", pixels, exif=exif), **UPSTREAM), scratch=tmp_path)
    assert (preparation.items[0].height, preparation.items[0].width) == (8, 4)
    assert pictures(preparation)[0][:, 0].min() == 255
    deep = picture(tmp_path / "d.png", np.full((56, 56), 1000, np.uint16))
    assert pictures(prepared(media(deep, **UPSTREAM), scratch=tmp_path))[0].min() == 255
    with pytest.raises(ImagingError, match="window does not apply"):
        prepared(media(deep, window=WHOLE, **UPSTREAM), scratch=tmp_path)


def test_frames_of_videos_are_not(tmp_path: Path) -> None:
    """They are arrays, whose shape is (height, width)."""
    path = video(tmp_path / "v.mp4", num_frames=3)
    plain, published = (prepared(media(path, **o), scratch=tmp_path).items[0] for o in ({}, UPSTREAM))
    assert (plain.height, plain.width) == (published.height, published.width)


def test_slices_are_stretched_one_by_one_and_repeat(tmp_path: Path) -> None:
    """180 by integer linspace, whatever the volume has; no reorientation; no window."""
    voxels = np.zeros((112, 112, 4), np.float32)
    voxels[0] = [100, 200, 300, 400]
    path = nifti(tmp_path / "v.nii", voxels)
    preparation = prepared(media(path, **UPSTREAM), scratch=tmp_path)
    (item,) = preparation.items
    assert item.num_planes == 180
    assert [plane.index for plane in item.planes] == [int(i) for i in np.linspace(0, 3, 180, dtype=int)]
    shown = pictures(preparation)
    assert all(plane[0, :, 0].min() > 200 for plane in (shown[0], shown[-1]))
    with pytest.raises(ImagingError, match="window does not apply"):
        prepared(media(path, window=WHOLE, **UPSTREAM), scratch=tmp_path)


def test_axes_are_stored_axes(tmp_path: Path) -> None:
    """Coronal is the second axis even where the affine says otherwise."""
    path = nifti(tmp_path / "v.nii", np.zeros((56, 7, 84), np.uint8))
    (item,) = prepared(media(path, axis=Axis.CORONAL, num_planes=7, **UPSTREAM), scratch=tmp_path).items
    assert [plane.index for plane in item.planes] == list(range(7))


def test_dicom_is_refused(tmp_path: Path) -> None:
    """The published code reads none."""
    with pytest.raises(ImagingError, match="published preprocessing cannot read"):
        prepared(media(real("CT_small.dcm"), **UPSTREAM), scratch=tmp_path)
