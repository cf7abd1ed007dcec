"""NIfTI: orientation, order, windowing, laziness."""

import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff

from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.types import Axis, Kind, Window
from tests.imaging.samples import WHOLE, Array, codes, media, nifti, pictures, prepared

SHAPE = (56, 84, 112)


def marked() -> Array:
    """RAS+ voxels; bright towards the patient's right, front and head in three steps of grey."""
    x, y, z = np.indices(SHAPE)
    values: Array = (60 * (x >= 28) + 80 * (y >= 42) + 100 * (z >= 56)).astype(np.int16)
    return values


def stored_as(codes_: str) -> tuple[Array, Array]:
    """The same patient stored in another axis order and direction, with the affine that says so."""
    ornt = axcodes2ornt(tuple(codes_))  # type: ignore[no-untyped-call]
    to_stored = nibabel.orientations.ornt_transform(axcodes2ornt("RAS"), ornt)  # type: ignore[no-untyped-call]
    affine = inv_ornt_aff(to_stored, SHAPE)  # type: ignore[no-untyped-call]
    return apply_orientation(marked(), to_stored), affine  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("codes_", ["RAS", "LPS", "LAS", "SPL", "ARI", "PIR"])
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_every_storage_order_is_shown_alike(tmp_path: Path, codes_: str, suffix: str) -> None:
    """Patient right on image left, front up, feet first: from the affine, not from the order of axes."""
    voxels, affine = stored_as(codes_)
    path = nifti(tmp_path / f"v.{suffix}", voxels, affine)
    shown = pictures(prepared(media(path, window=WHOLE, num_planes=2), scratch=tmp_path))
    foot, head = (plane[..., 0].astype(int) for plane in shown)
    assert [foot[0, 0], foot[0, -1], foot[-1, 0], foot[-1, -1]] == [140, 80, 60, 0]
    assert head[0, 0] == 240


@pytest.mark.parametrize(
    ("axis", "corners", "step"),
    [(Axis.CORONAL, [240, 180, 140, 80], -80), (Axis.SAGITTAL, [180, 100, 80, 0], 60)],
)
def test_coronal_and_sagittal_are_shown_as_radiologists_do(
    tmp_path: Path, axis: Axis, corners: list[int], step: int
) -> None:
    """Head up; coronal from front to back with the right on the left, sagittal from left to right, front left."""
    path = nifti(tmp_path / "v.nii", marked())
    shown = pictures(prepared(media(path, window=WHOLE, num_planes=2, axis=axis), scratch=tmp_path))
    first, last = (plane[..., 0].astype(int) for plane in shown)
    assert [first[0, 0], first[0, -1], first[-1, 0], first[-1, -1]] == corners
    assert last[0, 0] - first[0, 0] == step


def test_one_window_for_the_whole_volume(tmp_path: Path) -> None:
    """A dark slice stays dark: the published code stretches each slice on its own."""
    voxels = np.zeros((56, 56, 4), np.float32) + np.array([100, 200, 300, 400], np.float32)
    shown = pictures(prepared(media(nifti(tmp_path / "v.nii", voxels)), scratch=tmp_path))
    means = [float(plane.mean()) for plane in shown]
    np.testing.assert_allclose(means, [0, 85, 170, 255], atol=1)


def test_nan_is_black_and_does_not_disturb_the_window(tmp_path: Path) -> None:
    """Registered volumes are NaN outside."""
    voxels = np.linspace(0, 1, 56 * 56 * 3, dtype=np.float32).reshape(56, 56, 3)
    voxels[:20] = np.nan
    shown = pictures(prepared(media(nifti(tmp_path / "v.nii", voxels)), scratch=tmp_path))[0]
    assert shown[:, -20:].max() == 0
    assert shown[:, :36].max() > 200


def test_slope_and_intercept_count(tmp_path: Path) -> None:
    """A window is asked for in units of the modality, not of the file."""
    image = nibabel.Nifti1Image(np.full((56, 56, 2), 10, np.int16), np.eye(4))  # type: ignore[no-untyped-call]
    image.header.set_slope_inter(2.0, 30.0)  # type: ignore[no-untyped-call]
    nibabel.save(image, tmp_path / "v.nii")
    shown = pictures(prepared(media(tmp_path / "v.nii", window=WHOLE), scratch=tmp_path))
    assert shown[0].max() == 50


def test_thick_slices_become_square_pixels(tmp_path: Path) -> None:
    """Coronal planes of a volume with 4 mm slices are four times as high as they are stored."""
    path = nifti(tmp_path / "v.nii", np.ones((168, 56, 42), np.uint8), np.diag([1, 1, 4, 1]))
    (item,) = (preparation := prepared(media(path, axis=Axis.CORONAL), scratch=tmp_path)).items
    assert (item.height, item.width) == (12, 12)
    assert "resampled_square" in codes(preparation)


def test_four_dimensions_show_the_first_time_point(tmp_path: Path) -> None:
    """And say so."""
    voxels = np.stack([np.full((56, 56, 4), 10 * (t + 1), np.uint8) for t in range(3)], axis=-1)
    preparation = prepared(media(nifti(tmp_path / "v.nii", voxels), window=WHOLE), scratch=tmp_path)
    assert preparation.items[0].num_planes == 4
    assert pictures(preparation)[0].max() == 10
    assert "first_time_point" in codes(preparation)


def test_colour_is_kept_and_takes_no_window(tmp_path: Path) -> None:
    """RGB24 volumes, as fibre maps are."""
    voxels = np.zeros((56, 56, 3), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    voxels["G"] = 200
    path = nifti(tmp_path / "v.nii", voxels)
    assert pictures(prepared(media(path), scratch=tmp_path))[0][0, 0].tolist() == [0, 200, 0]
    with pytest.raises(ImagingError, match="window does not apply"):
        prepared(media(path, window=Window(1, 2)), scratch=tmp_path)


def test_a_single_slice_is_shown_in_its_own_plane(tmp_path: Path) -> None:
    """A lone coronal slice cut axially would be lines."""
    preparation = prepared(media(nifti(tmp_path / "v.nii", np.ones((112, 1, 168), np.uint8))), scratch=tmp_path)
    (item,) = preparation.items
    assert (item.kind, item.num_planes, item.height, item.width) == (Kind.VOLUME, 1, 12, 8)


def test_a_file_without_orientation_says_so(tmp_path: Path) -> None:
    """Left and right are then an assumption."""
    image = nibabel.Nifti1Image(np.ones((56, 56, 2), np.uint8), None)  # type: ignore[no-untyped-call]
    nibabel.save(image, tmp_path / "v.nii")
    assert "orientation_assumed" in codes(prepared(media(tmp_path / "v.nii"), scratch=tmp_path))


def test_nifti_2_reads(tmp_path: Path) -> None:
    """The larger header."""
    image = nibabel.Nifti2Image(np.ones((56, 56, 2), np.uint8), np.eye(4))  # type: ignore[no-untyped-call]
    nibabel.save(image, tmp_path / "v.nii")
    assert prepared(media(tmp_path / "v.nii"), scratch=tmp_path).items[0].num_planes == 2


@pytest.mark.parametrize(
    ("voxels", "said"),
    [(np.ones((4, 4, 4), np.complex64), "complex"), (np.ones((4, 4, 4, 2, 3), np.float32), "5 dimensions")],
)
def test_what_is_no_volume_of_grey_is_refused(tmp_path: Path, voxels: Array, said: str) -> None:
    """With a reason."""
    with pytest.raises(ImagingError, match=said) as caught:
        prepared(media(nifti(tmp_path / "v.nii", voxels)), scratch=tmp_path)
    assert caught.value.kind == "unsupported"


def test_a_truncated_volume_is_found_before_any_pixel_is_read(tmp_path: Path) -> None:
    """The plan must not promise planes that are not there."""
    path = nifti(tmp_path / "v.nii", np.ones((56, 56, 8), np.uint8))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImagingError, match="ends before its voxels"):
        prepared(media(path), scratch=tmp_path)


def test_an_oblique_volume_says_so(tmp_path: Path) -> None:
    """It is not resampled: its axial planes are tilted against the patient by more than 20 degrees."""
    for angle_deg, said in ((15, "slices, axial, feet"), (40, "slices, oblique axial, feet")):
        sine, cosine = np.sin(np.deg2rad(angle_deg)), np.cos(np.deg2rad(angle_deg))
        affine = np.array([[1, 0, 0, 0], [0, 2 * cosine, -sine, 0], [0, 2 * sine, cosine, 0], [0, 0, 0, 1]])
        path = nifti(tmp_path / "v.nii", np.ones((56, 28, 5), np.uint8), affine)
        assert said in prepared(media(path), scratch=tmp_path).items[0].description


def test_colour_is_read_plane_by_plane(tmp_path: Path) -> None:
    """The whole volume was once copied into memory when it was opened."""
    voxels = np.zeros((256, 256, 100), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    path = nifti(tmp_path / "v.nii", voxels)
    medium = media(path)
    del voxels
    tracemalloc.start()
    for _ in prepared(medium, scratch=tmp_path).planes():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
