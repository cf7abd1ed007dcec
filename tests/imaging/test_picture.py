"""Still pictures, TIFF stacks and animations."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.types import Kind, Window
from tests.imaging.samples import codes, media, picture, pictures, prepared

RGB = np.random.default_rng(0).integers(0, 256, (56, 84, 3)).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp.png", "webp", "jpg"])
def test_every_format_is_known_by_content(tmp_path: Path, suffix: str) -> None:
    """The name says nothing: objects in a store have none."""
    path = picture(tmp_path / f"p.{suffix}", np.full((56, 84, 3), 90, np.uint8)).rename(tmp_path / "object")
    preparation = prepared(media(path), scratch=tmp_path)
    (item,) = preparation.items
    assert (item.kind, item.height, item.width, item.merge, item.num_planes) == (Kind.IMAGE, 4, 6, 1, 1)
    assert np.abs(pictures(preparation)[0].astype(int) - 90).max() <= 2


def test_a_picture_that_fits_is_not_changed(tmp_path: Path) -> None:
    """Sides that are multiples of the patch pass through the resize bit by bit; its novelty is infinite."""
    preparation = prepared(media(picture(tmp_path / "p.png", RGB)), scratch=tmp_path)
    np.testing.assert_array_equal(pictures(preparation)[0], RGB)
    (plane,) = preparation.planes()
    assert np.isinf(plane.novelty).all()
    assert plane.novelty.shape == (24,)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_exif_orientation_is_applied(tmp_path: Path, suffix: str) -> None:
    """A phone held upright stores a lying picture; of a TIFF, Pillow already turns the size that it states."""
    image = Image.fromarray(RGB)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / f"p.{suffix}", exif=exif)
    preparation = prepared(media(tmp_path / f"p.{suffix}"), scratch=tmp_path)
    np.testing.assert_array_equal(pictures(preparation)[0], np.rot90(RGB, k=-1))


def test_deep_grey_is_windowed_not_clipped(tmp_path: Path) -> None:
    """Pillow's own conversion of 16-bit grey cuts everything above 255 to white."""
    ramp = np.linspace(1000, 5000, 56 * 56).reshape(56, 56).astype(np.uint16)
    path = picture(tmp_path / "p.png", ramp)
    preparation = prepared(media(path), scratch=tmp_path)
    shown = pictures(preparation)[0][..., 0]
    assert (shown[0, 0], shown[-1, -1]) == (0, 255)
    assert 120 < shown[28, 0] < 135
    assert "window_percentiles" in codes(preparation)
    asked = prepared(media(path, window=Window(6000, 2000)), scratch=tmp_path)
    assert pictures(asked)[0].max() == 0


def test_deep_slices_share_one_window(tmp_path: Path) -> None:
    """A folder of 16-bit slices is one volume: its dark slices stay dark."""
    paths = [picture(tmp_path / f"{i}.png", np.full((56, 56), 1000 * i, np.uint16)) for i in range(5)]
    shown = pictures(prepared(media(paths, kind=Kind.VOLUME), scratch=tmp_path))
    np.testing.assert_allclose([plane.mean() for plane in shown], [0, 64, 128, 191, 255], atol=1)


def test_transparency_is_reported(tmp_path: Path) -> None:
    """Dropped as the published code does, but said."""
    path = picture(tmp_path / "p.png", np.dstack([RGB, np.full((56, 84), 7, np.uint8)]))
    assert "transparency_dropped" in codes(prepared(media(path), scratch=tmp_path))


def test_pages_of_a_tiff_are_slices(tmp_path: Path) -> None:
    """Several pages become a volume, which is an assumption and noted."""
    pages = [Image.fromarray(np.full((56, 56), 20 * i, np.uint8)) for i in range(5)]
    pages[0].save(tmp_path / "p.tiff", save_all=True, append_images=pages[1:])
    preparation = prepared(media(tmp_path / "p.tiff"), scratch=tmp_path)
    assert preparation.items[0].kind is Kind.VOLUME
    assert [int(shown.mean()) for shown in pictures(preparation)] == [0, 20, 40, 60, 80]
    assert "tiff_pages_are_slices" in codes(preparation)


def test_thumbnails_are_no_slices(tmp_path: Path) -> None:
    """Pages of another size or depth than the first are dropped, and said; what remains may be a single picture."""
    deep = Image.fromarray(np.zeros((56, 84), np.uint16))
    pages = [Image.fromarray(RGB), Image.fromarray(RGB[::2, ::2]), Image.fromarray(RGB), deep]
    for count, kind in ((4, Kind.VOLUME), (2, Kind.IMAGE)):
        pages[0].save(tmp_path / "p.tiff", save_all=True, append_images=pages[1:count])
        preparation = prepared(media(tmp_path / "p.tiff"), scratch=tmp_path)
        (item,) = preparation.items
        assert (item.kind, [plane.index for plane in item.planes]) == (kind, [0, 2][: item.num_planes])
        assert f"{count - item.num_planes} pages of another size" in " ".join(note.text for note in item.notes)


def test_deep_grey_whose_zero_is_white_is_inverted(tmp_path: Path) -> None:
    """Scanned radiographs; Pillow does so for 8 bits and not for 16."""
    ramp = np.tile(np.linspace(0, 5000, 56), (56, 1)).astype(np.uint16)
    path = tmp_path / "p.tiff"
    Image.fromarray(ramp).save(path, tiffinfo={262: 0})
    shown = pictures(prepared(media(path, window=Window(2500, 5000)), scratch=tmp_path))[0]
    assert (shown[0, 0, 0], shown[0, -1, 0]) == (255, 0)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animations_are_videos_with_their_times(tmp_path: Path, suffix: str) -> None:
    """Frames of half a second: one a second by default, with time stamps for the prompt."""
    frames = [Image.fromarray(np.full((56, 56), 40 * i, np.uint8)) for i in range(6)]
    frames[0].save(tmp_path / f"p.{suffix}", save_all=True, append_images=frames[1:], duration=500, lossless=True)
    preparation = prepared(media(tmp_path / f"p.{suffix}"), scratch=tmp_path)
    (item,) = preparation.items
    assert item.kind is Kind.VIDEO
    assert item.timestamps_s == (0.0, 1.0, 2.0)
    assert [round(shown.mean() / 40) for shown in pictures(preparation)] == [0, 2, 4]


def test_pictures_sent_as_a_volume_become_one(tmp_path: Path) -> None:
    """A folder of slices, in the order given."""
    paths = [picture(tmp_path / f"{i}.png", np.full((56, 56), 10 * i, np.uint8)) for i in range(4)]
    preparation = prepared(media(paths, kind=Kind.VOLUME), scratch=tmp_path)
    assert [item.num_planes for item in preparation.items] == [4]
    assert "order_as_given" in codes(preparation)
    assert len(prepared(media(paths), scratch=tmp_path).items) == 4


def test_a_picture_is_no_volume(tmp_path: Path) -> None:
    """What was declared and what was found must agree."""
    with pytest.raises(ImagingError, match="sent as volume but is image"):
        prepared(media(picture(tmp_path / "p.png", RGB), kind=Kind.VOLUME), scratch=tmp_path)


@pytest.mark.parametrize("option", [{"fps": 2.0}, {"num_planes": 3}, {"window": Window(40, 400)}, {"start_s": 1.0}])
def test_options_that_mean_nothing_are_refused(tmp_path: Path, option: dict[str, object]) -> None:
    """Ignoring fps for a photograph would look like obeying it."""
    with pytest.raises(ImagingError, match="does not apply"):
        prepared(media(picture(tmp_path / "p.png", RGB), **option), scratch=tmp_path)
