"""Slices to volumes: order in space, what belongs together, what is told."""

import random
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.types import Axis, Kind, Window
from tests.imaging.samples import WHOLE, codes, ct_series, ct_slice, media, pictures, prepared, write

TEN = [float(z) for z in range(0, 100, 10)]


def greys(*args: object, **kwargs: object) -> list[int]:
    """The grey level of every plane."""
    return [int(shown.mean()) for shown in pictures(*args, **kwargs)]  # type: ignore[arg-type]


def test_order_is_by_position_never_by_instance_number(tmp_path: Path) -> None:
    """Instance numbers run against the positions here, and files come in any order."""
    paths = ct_series(tmp_path, TEN)
    random.Random(0).shuffle(paths)
    preparation = prepared(media(paths, window=WHOLE), scratch=tmp_path)
    (item,) = preparation.items
    assert (item.kind, item.merge, item.num_planes, item.modality) == (Kind.VOLUME, 2, 10, "CT")
    assert item.description == "CT series, 10 slices, axial, feet to head"
    assert item.series_instance_uid == "1.2.3.4"
    assert [plane.position_mm for plane in item.planes] == TEN
    assert greys(preparation) == [100 + int(z) for z in TEN]


@pytest.mark.parametrize(
    ("rows", "columns", "axis", "first"),
    [
        ([1, 0, 0], [0, -1, 0], Axis.AXIAL, 0),
        ([1, 0, 0], [0, 0, -1], Axis.CORONAL, 0),
        ([0, 1, 0], [0, 0, -1], Axis.SAGITTAL, 90),
        ([0, -1, 0], [0, 0, -1], Axis.SAGITTAL, 90),
    ],
)
def test_planes_run_the_same_way_however_they_were_acquired(
    tmp_path: Path, rows: list[int], columns: list[int], axis: Axis, first: int
) -> None:
    """Axial to the head, coronal to the back, sagittal to the right (LPS: x falls), whatever the sign of the normal."""
    world = int(np.argmax(np.abs(np.cross(rows, columns))))
    paths = []
    for i in range(10):
        position = [0.0, 0.0, 0.0]
        position[world] = 10.0 * i
        stored = np.full((32, 48), 10 * i + 1024, np.int16)
        dataset = ct_slice(stored, ImagePositionPatient=position, ImageOrientationPatient=rows + columns)
        paths.append(write(tmp_path / f"{i}.dcm", dataset))
    preparation = prepared(media(paths, window=WHOLE), scratch=tmp_path)
    assert axis in preparation.items[0].description
    assert greys(preparation)[0] == first


@pytest.mark.parametrize(
    "orientation", [[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, -1, 0], [-1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, -1, 0]]
)
def test_front_is_up_and_right_is_left_however_it_is_stored(tmp_path: Path, orientation: list[int]) -> None:
    """Planes carry no letters that would tell the model what is mirrored."""
    usual = np.full((56, 56), 1024, np.int16)
    usual[:28, :28] += 200
    stored = usual[:: orientation[4], :: orientation[0]]
    path = write(tmp_path / "i.dcm", ct_slice(np.ascontiguousarray(stored), ImageOrientationPatient=orientation))
    preparation = prepared(media(path, window=WHOLE), scratch=tmp_path)
    (shown,) = pictures(preparation)
    assert shown[5, 5, 0] == 200
    assert shown[5, -5, 0] == shown[-5, 5, 0] == 0
    assert ("turned_to_usual_display" in codes(preparation)) == (orientation != [1, 0, 0, 0, 1, 0])


def test_missing_slices_are_told(tmp_path: Path) -> None:
    """A hole in the series is not closed silently."""
    preparation = prepared(media(ct_series(tmp_path, [0, 5, 10, 20, 25])), scratch=tmp_path)
    (note,) = [note for note in preparation.items[0].notes if note.code == "missing_slices"]
    assert note.text == "about 1 slices are missing (usual spacing 5.00 mm)"


def test_uneven_spacing_is_told(tmp_path: Path) -> None:
    """Shown as it is, but said."""
    assert "uneven_spacing" in codes(prepared(media(ct_series(tmp_path, [0, 5, 10, 16, 21])), scratch=tmp_path))


def test_slices_at_one_position_are_dropped_and_told(tmp_path: Path) -> None:
    """The first by number stays."""
    preparation = prepared(media(ct_series(tmp_path, [0, 5, 5, 10])), scratch=tmp_path)
    assert preparation.items[0].num_planes == 3
    assert "duplicate_positions" in codes(preparation)


def test_gantry_tilt_is_told(tmp_path: Path) -> None:
    """Slice corners wander sideways: the stack leans."""
    paths = [
        write(tmp_path / f"{i}.dcm", ct_slice(np.zeros((32, 48), np.int16), ImagePositionPatient=[0, 2 * i, 10 * i]))
        for i in range(5)
    ]
    (note,) = [n for n in prepared(media(paths), scratch=tmp_path).items[0].notes if n.code == "gantry_tilt"]
    assert "11.3 degrees" in note.text


def test_an_orientation_that_drifts_stays_one_series(tmp_path: Path) -> None:
    """Two degrees over a series are one stack, with a note."""
    paths = []
    for i in range(5):
        angle = np.deg2rad(0.5 * i)
        orientation = [1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle))]
        dataset = ct_slice(
            np.zeros((32, 48), np.int16), ImagePositionPatient=[0, 0, 5 * i], ImageOrientationPatient=orientation
        )
        paths.append(write(tmp_path / f"{i}.dcm", dataset))
    preparation = prepared(media(paths), scratch=tmp_path)
    assert [item.num_planes for item in preparation.items] == [5]
    assert "orientation_drift" in codes(preparation)


def test_two_orientations_in_one_series_are_two_items(tmp_path: Path) -> None:
    """Reformats stored in the series of their source."""
    axial = ct_series(tmp_path, [0, 5, 10])
    (tmp_path / "more").mkdir()
    coronal = []
    for i in range(3):
        dataset = ct_slice(
            np.zeros((32, 48), np.int16),
            ImagePositionPatient=[0, 5 * i, 0],
            ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
        )
        coronal.append(write(tmp_path / "more" / f"{i}.dcm", dataset))
    preparation = prepared(media(axial + coronal), scratch=tmp_path)
    assert [item.num_planes for item in preparation.items] == [3, 3]
    only = prepared(media(axial + coronal, axis=Axis.CORONAL), scratch=tmp_path)
    assert [item.description for item in only.items] == ["CT series, 3 slices, coronal, front to back"]
    assert [(left.reason, left.count) for left in only.left_out] == [("not coronal", 3)]


def test_time_points_show_the_first(tmp_path: Path) -> None:
    """A perfusion series is one volume many times over."""
    paths = []
    for t in (2, 1):
        (tmp_path / str(t)).mkdir()
        paths += ct_series(tmp_path / str(t), [0, 5, 10], TemporalPositionIdentifier=t)
    preparation = prepared(media(paths), scratch=tmp_path)
    assert [item.num_planes for item in preparation.items] == [3]
    assert "first_time_point" in codes(preparation)


def test_acquisitions_at_the_same_positions_are_items_of_their_own(tmp_path: Path) -> None:
    """Arterial and venous phase in one series are two volumes, not one with every slice twice."""
    paths = []
    for acquisition in (1, 2):
        (tmp_path / str(acquisition)).mkdir()
        paths += ct_series(tmp_path / str(acquisition), [0, 5, 10], AcquisitionNumber=acquisition)
    preparation = prepared(media(paths), scratch=tmp_path)
    assert [item.num_planes for item in preparation.items] == [3, 3]
    assert "split_series" in codes(preparation)


def test_step_and_shoot_stays_one_volume(tmp_path: Path) -> None:
    """Each acquisition covers positions of its own: splitting by number would tear the head apart."""
    paths = []
    for acquisition in (1, 2, 3):
        (tmp_path / str(acquisition)).mkdir()
        positions = [10 * acquisition, 10 * acquisition + 5]
        paths += ct_series(tmp_path / str(acquisition), positions, AcquisitionNumber=acquisition)
    assert [item.num_planes for item in prepared(media(paths), scratch=tmp_path).items] == [6]


def test_without_positions_the_order_is_by_number_and_told(tmp_path: Path) -> None:
    """Better than nothing, and not silent."""
    paths = ct_series(tmp_path, [0, 5, 10], ImagePositionPatient=None)
    preparation = prepared(media(paths, window=WHOLE), scratch=tmp_path)
    assert "order_by_number" in codes(preparation)
    assert greys(preparation) == [110, 105, 100]


def test_a_lone_slice_is_an_image(tmp_path: Path) -> None:
    """Nothing to compare it with: merge 1, never compressed."""
    preparation = prepared(media(ct_series(tmp_path, [0])), scratch=tmp_path)
    assert [(item.kind, item.merge) for item in preparation.items] == [(Kind.IMAGE, 1)]


def test_radiographs_of_a_series_are_images(tmp_path: Path) -> None:
    """Frontal and lateral are two pictures, not a volume."""
    paths = [
        write(tmp_path / f"{i}.dcm", ct_slice(np.zeros((32, 48), np.int16), Modality="DX", InstanceNumber=i))
        for i in (1, 2)
    ]
    assert [item.kind for item in prepared(media(paths), scratch=tmp_path).items] == [Kind.IMAGE, Kind.IMAGE]


def test_sampling_keeps_the_ends_and_says_so(tmp_path: Path) -> None:
    """`index` points into the sorted series."""
    preparation = prepared(media(ct_series(tmp_path, TEN), num_planes=4, window=WHOLE), scratch=tmp_path)
    assert [plane.index for plane in preparation.items[0].planes] == [0, 3, 6, 9]
    assert greys(preparation) == [100, 130, 160, 190]
    assert "4 of 10 slices, evenly spread" in {note.text for note in preparation.items[0].notes}


def enhanced_ct(path: Path, positions_mm: list[float]) -> Path:
    """One multi-frame instance, its frames in the order given, slope 1 and intercept 10 x frame number."""
    frames = np.stack([np.full((32, 48), 100 + int(z), np.int16) for z in positions_mm])
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    source = ct_slice(frames[0])
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "RescaleSlope",
        "RescaleIntercept",
        "PixelSpacing",
    ):
        delattr(source, keyword)
    dataset.update(source)
    dataset.SOPClassUID, dataset.SOPInstanceUID = EnhancedCTImageStorage, generate_uid()
    dataset.NumberOfFrames = len(positions_mm)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing = [1, 1]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for i, z in enumerate(positions_mm):
        group, position, rescale = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, z]
        rescale.RescaleSlope, rescale.RescaleIntercept = 1, 10 * i
        group.PlanePositionSequence, group.PixelValueTransformationSequence = [position], [rescale]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.PixelData = frames.tobytes()
    return write(path, dataset)


def test_enhanced_frames_are_sorted_and_rescaled_each_on_its_own(tmp_path: Path) -> None:
    """Position and rescale live in the functional groups of each frame."""
    path = enhanced_ct(tmp_path / "e.dcm", [20, 0, 10])
    preparation = prepared(media(path, window=WHOLE), scratch=tmp_path)
    (item,) = preparation.items
    assert (item.kind, [plane.frame for plane in item.planes]) == (Kind.VOLUME, [2, 3, 1])
    assert greys(preparation) == [110, 130, 120]


def test_a_window_of_the_whole_series(tmp_path: Path) -> None:
    """Never per slice: a slice of air stays dark."""
    paths = ct_series(tmp_path, TEN)
    preparation = prepared(media(paths), scratch=tmp_path)
    assert "window_default" in codes(preparation)
    assert greys(preparation) == [round((100 + z + 160) / 400 * 255) for z in TEN]


def test_mixed_windows_use_the_most_common_one(tmp_path: Path) -> None:
    """And say so."""
    paths = ct_series(tmp_path, TEN[:3], WindowCenter=127.5, WindowWidth=255, VOILUTFunction="LINEAR_EXACT")
    odd = ct_slice(
        np.full((32, 48), 1024 + 140, np.int16), ImagePositionPatient=[0, 0, 40], WindowCenter=0, WindowWidth=9
    )
    preparation = prepared(media([*paths, write(tmp_path / "odd.dcm", odd)]), scratch=tmp_path)
    assert "window_most_common" in codes(preparation)
    assert greys(preparation) == [100, 110, 120, 140]


def test_options_of_videos_do_not_apply(tmp_path: Path) -> None:
    """A series has no seconds."""
    with pytest.raises(ImagingError, match="fps does not apply"):
        prepared(media(ct_series(tmp_path, TEN), fps=1.0), scratch=tmp_path)


def test_planes_can_be_read_again(tmp_path: Path) -> None:
    """Two passes are bit-identical, also with percentiles."""
    paths = ct_series(tmp_path, TEN, Modality="MR", RescaleIntercept=None, RescaleSlope=None)
    preparation = prepared(media(paths), scratch=tmp_path)
    first, second = ([plane.patches.tobytes() for plane in preparation.planes()] for _ in range(2))
    assert first == second


def test_novelty_follows_the_window(tmp_path: Path) -> None:
    """Ten grey levels are 20/255 in normalised units, in every token."""
    preparation = prepared(media(ct_series(tmp_path, TEN), window=Window(127.5, 255)), scratch=tmp_path)
    planes = list(preparation.planes())
    assert np.isinf(planes[0].novelty).all()
    for plane in planes[1:]:
        np.testing.assert_allclose(plane.novelty, 20 / 255, rtol=1e-6)


def test_tomosynthesis_is_a_volume(tmp_path: Path) -> None:
    """Mammograms are single pictures, but frames of one instance at several heights are a stack."""
    path = enhanced_ct(tmp_path / "e.dcm", [0, 1, 2])
    dataset = dcmread(path)
    dataset.Modality = "MG"
    (item,) = prepared(media(write(path, dataset)), scratch=tmp_path).items
    assert (item.kind, item.num_planes) == (Kind.VOLUME, 3)


def test_a_slice_without_position_does_not_cost_the_others_their_order(tmp_path: Path) -> None:
    """It becomes an image of its own."""
    paths = ct_series(tmp_path, [0, 10, 20])
    lost = write(tmp_path / "lost.dcm", ct_slice(np.zeros((32, 48), np.int16), ImagePositionPatient=None))
    preparation = prepared(media([lost, *paths], window=WHOLE), scratch=tmp_path)
    assert [(item.kind, item.num_planes) for item in preparation.items] == [(Kind.IMAGE, 1), (Kind.VOLUME, 3)]
    assert [int(shown.mean()) for shown in pictures(preparation, 1)] == [100, 110, 120]


@pytest.mark.parametrize("length", [1e-5, 0.9, 1e5])
def test_direction_cosines_need_not_have_length_one(tmp_path: Path, length: float) -> None:
    """Rounded ones do not, and every slice was once a stack of its own."""
    paths = ct_series(tmp_path, TEN, ImageOrientationPatient=[length, 0, 0, 0, length, 0])
    assert [item.num_planes for item in prepared(media(paths), scratch=tmp_path).items] == [10]


@pytest.mark.parametrize("far", [1e300, float("1e7")])
def test_impossible_positions_are_as_good_as_none(tmp_path: Path, far: float) -> None:
    """Ten kilometres from the scanner; a number that overflows in the sum of squares."""
    paths = ct_series(tmp_path, [0, 5, 10], ImagePositionPatient=[0, 0, far])
    assert "order_by_number" in codes(prepared(media(paths), scratch=tmp_path))


def test_a_mosaic_says_so(tmp_path: Path) -> None:
    """Siemens packs a whole volume into one picture."""
    path = write(
        tmp_path / "m.dcm", ct_slice(np.zeros((32, 48), np.int16), ImageType=["ORIGINAL", "PRIMARY", "MOSAIC"])
    )
    assert "mosaic" in codes(prepared(media(path), scratch=tmp_path))
