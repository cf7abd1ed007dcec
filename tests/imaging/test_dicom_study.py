"""What of a study is shown, what is left out, and in which order."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import SecondaryCaptureImageStorage, VLEndoscopicImageStorage, VLWholeSlideMicroscopyImageStorage

from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.types import Kind
from tests.imaging.samples import ct_series, ct_slice, media, prepared, real, write

ZEROS = np.zeros((32, 48), np.int16)


def test_a_study_lists_series_by_number_and_leaves_out_what_is_no_image(tmp_path: Path) -> None:
    """Localizers, screens, reports and the like are named with count and UIDs."""
    (tmp_path / "late").mkdir()
    late = ct_series(tmp_path / "late", [0, 5], SeriesNumber=9, SeriesInstanceUID="1.2.9")
    early = ct_series(tmp_path, [0, 5, 10], SeriesNumber=2, SeriesInstanceUID="1.2.2")
    localizer = ct_slice(ZEROS, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SOPInstanceUID="1.2.77")
    screen = ct_slice(ZEROS, SOPClassUID=SecondaryCaptureImageStorage, SeriesInstanceUID="1.2.5")
    others = [write(tmp_path / "loc.dcm", localizer), write(tmp_path / "sc.dcm", screen), real("reportsi.dcm")]
    preparation = prepared(media([*late, *others, real("liver_1frame.dcm"), *early]), scratch=tmp_path)
    assert [(item.series_instance_uid, item.num_planes) for item in preparation.items] == [("1.2.2", 3), ("1.2.9", 2)]
    assert {left.reason: left.count for left in preparation.left_out} == {
        "localizer": 1,
        "secondary capture beside the images themselves": 1,
        "structured report": 1,
        "segmentation or registration": 1,
    }
    assert ("1.2.77",) in [left.sop_instance_uids for left in preparation.left_out]


def test_a_secondary_capture_on_its_own_is_an_image(tmp_path: Path) -> None:
    """Photographs and scans come as secondary captures."""
    (item,) = prepared(media(real("SC_rgb_rle.dcm")), scratch=tmp_path).items
    assert item.kind is Kind.IMAGE


def test_photographs_beside_other_images_are_no_secondary_captures(tmp_path: Path) -> None:
    """Their SOP classes begin like that of a secondary capture (…1.7 and …1.77.1.1)."""
    photograph = ct_slice(ZEROS, SOPClassUID=VLEndoscopicImageStorage, Modality="ES", SeriesInstanceUID="1.2.8")
    preparation = prepared(
        media([*ct_series(tmp_path, [0, 5]), write(tmp_path / "es.dcm", photograph)]), scratch=tmp_path
    )
    assert sorted(item.modality or "" for item in preparation.items) == ["CT", "ES"]


def test_whole_slides_are_left_out(tmp_path: Path) -> None:
    """Their frames are tiles of one picture, not slices."""
    slide = ct_slice(ZEROS, SOPClassUID=VLWholeSlideMicroscopyImageStorage, Modality="SM")
    with pytest.raises(ImagingError, match="1 whole slide image"):
        prepared(media(write(tmp_path / "sm.dcm", slide)), scratch=tmp_path)


def test_an_instance_sent_twice_counts_once(tmp_path: Path) -> None:
    """PACS resend."""
    paths = ct_series(tmp_path, [0, 5])
    preparation = prepared(media([*paths, paths[0]]), scratch=tmp_path)
    assert preparation.items[0].num_planes == 2
    assert [left.reason for left in preparation.left_out] == ["sent twice"]


def test_a_study_without_images_says_what_it_holds(tmp_path: Path) -> None:
    """An empty series is an error, not an empty answer."""
    with pytest.raises(ImagingError, match=r"no image to look at \(1 structured report\)"):
        prepared(media(real("reportsi.dcm")), scratch=tmp_path)


def test_a_medium_without_files_is_an_error(tmp_path: Path) -> None:
    """So is no file at all."""
    with pytest.raises(ImagingError, match="holds no files"):
        prepared(media([]), scratch=tmp_path)


def test_media_mix_in_one_request(tmp_path: Path) -> None:
    """Every item knows its medium; each kind keeps its own merge, one budget serves all."""
    preparation = prepared(
        media(real("693_UNCR.dcm")),
        media(ct_series(tmp_path, [0, 5, 10])),
        media(real("RG1_UNCR.dcm")),
        scratch=tmp_path,
    )
    assert [(item.media, item.kind, item.merge) for item in preparation.items] == [
        (0, Kind.IMAGE, 1),
        (1, Kind.VOLUME, 2),
        (2, Kind.IMAGE, 1),
    ]
    assert sum(item.num_planes * item.tokens_per_plane for item in preparation.items) <= 16384
    assert [(plane.item, plane.plane) for plane in preparation.planes()] == [(0, 0), (1, 0), (1, 1), (1, 2), (2, 0)]


def test_nothing_of_the_patient_is_repeated(tmp_path: Path) -> None:
    """Descriptions, notes and errors are logged and shown; free text of the file stays in it."""
    paths = ct_series(tmp_path, [0, 5], PatientName="Secret^Name", SeriesDescription="Secret", Modality="SECRET")
    preparation = prepared(media(paths), scratch=tmp_path)
    assert "secret" not in repr(preparation.items).lower()
    assert preparation.items[0].modality is None
    broken = ct_slice(ZEROS, PatientName="Secret^Name")
    broken.add_new(0x00280010, "LO", "Secret")
    with pytest.raises(ImagingError) as caught:
        prepared(media(write(tmp_path / "b.dcm", broken)), scratch=tmp_path)
    assert "Secret" not in str(caught.value)


def test_a_kind_picks_from_a_study(tmp_path: Path) -> None:
    """Asked for the volume of a study, its radiograph is left out and listed."""
    radiograph = ct_slice(ZEROS, Modality="DX", SeriesInstanceUID="1.2.8", SOPInstanceUID="1.2.88")
    paths = [*ct_series(tmp_path, [0, 5]), write(tmp_path / "dx.dcm", radiograph)]
    preparation = prepared(media(paths, kind=Kind.VOLUME), scratch=tmp_path)
    assert [item.kind for item in preparation.items] == [Kind.VOLUME]
    assert [(left.reason, left.sop_instance_uids) for left in preparation.left_out] == [("not volume", ("1.2.88",))]
