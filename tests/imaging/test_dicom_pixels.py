"""Stored values to grey and colour."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels.utils import pixel_array

from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.types import Window
from tests.imaging.samples import WHOLE, Array, codes, ct_slice, media, pictures, prepared, real, write

RAMP = np.tile(np.arange(0, 56, dtype=np.int16) * 4, (56, 1))
GREY = {"RescaleIntercept": None, "RescaleSlope": None, "Modality": "MR"}


def shown(tmp_path: Path, stored: Array, *, window: Window | None = WHOLE, **attributes: object) -> Array:
    """One image as it is shown, its first channel."""
    path = write(tmp_path / "i.dcm", ct_slice(stored, **{**GREY, **attributes}))
    options = {} if window is None else {"window": window}
    (plane,) = pictures(prepared(media(path, **options), scratch=tmp_path))
    return plane[..., 0]


def test_monochrome1_is_inverted_after_windowing(tmp_path: Path) -> None:
    """Low values are bright."""
    plain = shown(tmp_path, RAMP)
    np.testing.assert_array_equal(plain, RAMP)
    np.testing.assert_array_equal(shown(tmp_path, RAMP, PhotometricInterpretation="MONOCHROME1"), 255 - RAMP)


def test_rescale_takes_slope_and_intercept(tmp_path: Path) -> None:
    """HU = stored * slope + intercept."""
    np.testing.assert_array_equal(shown(tmp_path, RAMP, RescaleSlope=0.5, RescaleIntercept=10), RAMP // 2 + 10)


def test_one_of_slope_and_intercept_is_none(tmp_path: Path) -> None:
    """A lone slope says nothing: the standard wants both."""
    np.testing.assert_array_equal(shown(tmp_path, RAMP, RescaleSlope=0.5), RAMP)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR", [0, 0, 127.5 + 255 * 0.5 / 99, 255, 255]),
        ("LINEAR_EXACT", [0, 0, 127.5, 255, 255]),
        ("SIGMOID", [255 / (1 + np.exp(4 * d / 100)) for d in (100, 50, 0, -50, -100)]),
    ],
)
def test_the_files_window_and_its_function(tmp_path: Path, function: str, expected: list[float]) -> None:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3 at centre 150 and width 100."""
    stored = np.repeat(np.array([50, 100, 150, 200, 250], np.int16), 56)[np.newaxis].repeat(56, axis=0)
    voi = {"WindowCenter": 150, "WindowWidth": 100, "VOILUTFunction": function}
    plane = shown(tmp_path, stored, window=None, **voi)
    middle = (np.arange(5) * plane.shape[1] / 5 + plane.shape[1] / 10).astype(int)
    np.testing.assert_allclose(plane[10, middle], expected, atol=1.0)


def test_padding_is_black_and_outside_the_percentiles(tmp_path: Path) -> None:
    """Air around a CT circle at -2000 would squeeze everything else into white."""
    stored = np.tile(np.linspace(500, 900, 56, dtype=np.int16), (56, 1))
    stored[:14] = -2000
    plane = shown(tmp_path, stored, window=None, PixelPaddingValue=-2000)
    assert plane[:12].max() == 0
    assert 110 < plane[40, 28] < 145
    inverted = shown(tmp_path, stored, window=None, PixelPaddingValue=-2000, PhotometricInterpretation="MONOCHROME1")
    assert inverted[:12].max() == 0


def test_padding_written_as_unsigned_is_understood(tmp_path: Path) -> None:
    """63536 in an unsigned element means -2000 in signed pixels."""
    stored = np.full((56, 56), 100, np.int16)
    stored[:28] = -2000
    dataset = ct_slice(stored, **GREY)
    dataset.add_new(0x00280120, "US", 63536)
    path = write(tmp_path / "i.dcm", dataset)
    (plane,) = pictures(prepared(media(path, window=Window(-2000, 5000)), scratch=tmp_path))
    assert plane[:26].max() == 0
    assert plane[30:].min() > 200


def test_bits_stored_scale_deep_colour(tmp_path: Path) -> None:
    """16-bit RGB is shown by its upper bits."""
    (plane,) = pictures(prepared(media(real("SC_rgb_rle_16bit.dcm")), scratch=tmp_path))
    expected = pixel_array(real("SC_rgb_rle_16bit.dcm")) >> 8
    assert plane.shape == (98, 98, 3)
    np.testing.assert_allclose(plane[5, 50], expected[5, 50], atol=2)


@pytest.mark.parametrize(
    "name", ["SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_ybr_full_422_uncompressed.dcm", "SC_rgb_rle.dcm", "SC_rgb_jpeg_gdcm.dcm"]
)
def test_ybr_becomes_rgb(tmp_path: Path, name: str) -> None:
    """The bars of pydicom's colour file: red on top, white at the bottom."""
    (plane,) = pictures(prepared(media(real(name)), scratch=tmp_path))
    np.testing.assert_allclose(plane[5, 50], [255, 0, 0], atol=6)
    np.testing.assert_allclose(plane[-5, 50], [255, 255, 255], atol=6)


def test_palette_colour_is_looked_up(tmp_path: Path) -> None:
    """Indices are not grey values."""
    (plane,) = pictures(prepared(media(real("examples_palette.dcm")), scratch=tmp_path))
    assert not np.array_equal(plane[..., 0], plane[..., 2])


def test_the_voi_lut_of_the_file_is_used(tmp_path: Path) -> None:
    """Radiographs bring their own curve."""
    (plane,) = pictures(prepared(media(real("vlut_04.dcm")), scratch=tmp_path))
    assert (plane.min(), plane.max()) == (0, 255)


@pytest.mark.parametrize("encoding", ["_RLE", "_jp2klossless", "_bigendian", "_jpeg_ls_lossless", "_implicit"])
def test_every_lossless_transfer_syntax_shows_the_same(tmp_path: Path, encoding: str) -> None:
    """One image in six encodings."""
    names = (f"MR_small{encoding}.dcm", "MR_small.dcm")
    one, other = (pictures(prepared(media(real(name)), scratch=tmp_path))[0] for name in names)
    np.testing.assert_array_equal(one, other)


def test_overlays_are_told(tmp_path: Path) -> None:
    """Not drawn, and said."""
    assert "overlay_ignored" in codes(prepared(media(real("examples_overlay.dcm")), scratch=tmp_path))


def test_square_pixels(tmp_path: Path) -> None:
    """Rows 2 mm apart, columns 1 mm: twice as high as stored."""
    path = write(tmp_path / "i.dcm", ct_slice(RAMP, PixelSpacing=[2, 1]))
    preparation = prepared(media(path), scratch=tmp_path)
    assert (preparation.items[0].height, preparation.items[0].width) == (8, 4)
    assert "resampled_square" in codes(preparation)


def test_an_impossible_spacing_is_ignored_and_told(tmp_path: Path) -> None:
    """A spacing of 1e30 mm would plan a picture of one row."""
    path = write(tmp_path / "i.dcm", ct_slice(RAMP, PixelSpacing=[1, 1e30]))
    preparation = prepared(media(path), scratch=tmp_path)
    assert preparation.items[0].height == preparation.items[0].width
    assert "spacing_ignored" in codes(preparation)


def test_the_chest_radiograph_is_bright_where_bone_is(tmp_path: Path) -> None:
    """A real MONOCHROME1 radiograph: spine brighter than lung."""
    (plane,) = pictures(prepared(media(real("RG1_UNCR.dcm")), scratch=tmp_path))
    assert dcmread(real("RG1_UNCR.dcm"), stop_before_pixels=True).PhotometricInterpretation == "MONOCHROME1"
    assert plane[800, 870].mean() > plane[700, 400].mean() + 20


def test_a_palette_with_alpha_is_shown_without_it(tmp_path: Path) -> None:
    """Four channels were once handed on as a picture, and ended as an internal error."""
    dataset = ct_slice(RAMP.astype(np.uint8), **GREY, BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0)
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    for color in ("Red", "Green", "Blue", "Alpha"):
        setattr(dataset, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 8])
        setattr(dataset, f"{color}PaletteColorLookupTableData", bytes(range(256)))
    dataset["PixelData"].VR = "OB"
    (plane,) = pictures(prepared(media(write(tmp_path / "i.dcm", dataset)), scratch=tmp_path))
    np.testing.assert_array_equal(plane[..., 0], RAMP)


def test_a_slope_of_zero_is_ignored_and_told(tmp_path: Path) -> None:
    """Obeyed, it made a plane of one grey level."""
    path = write(tmp_path / "i.dcm", ct_slice(RAMP, **{**GREY, "RescaleSlope": 0, "RescaleIntercept": 7}))
    preparation = prepared(media(path, window=WHOLE), scratch=tmp_path)
    np.testing.assert_array_equal(pictures(preparation)[0][..., 0], RAMP)
    assert "slope_ignored" in codes(preparation)


def test_the_first_of_several_windows_is_taken_and_told(tmp_path: Path) -> None:
    """A chest CT states a soft tissue and a lung window: which one is shown decides what can be seen."""
    windows = {"WindowCenter": [100, -600], "WindowWidth": [200, 1500], "VOILUTFunction": "LINEAR_EXACT"}
    preparation = prepared(media(write(tmp_path / "i.dcm", ct_slice(RAMP + 1024, **windows))), scratch=tmp_path)
    (note,) = [note for note in preparation.items[0].notes if note.code == "window_first"]
    assert "centre 100 and width 200" in note.text
    np.testing.assert_allclose(pictures(preparation)[0][0, :, 0], np.minimum(RAMP[0] / 200 * 255, 255), atol=1)


def test_a_color_map_that_is_not_drawn_is_told(tmp_path: Path) -> None:
    """Perfusion maps bring a supplemental palette: shown in grey they mean something else."""
    assert "color_map_ignored" in codes(prepared(media(real("eCT_Supplemental.dcm")), scratch=tmp_path))


def test_encodings_that_nothing_reads_are_named(tmp_path: Path) -> None:
    """When planning, not after a model has been waiting for planes; and with the way out."""
    unknown = (
        write(tmp_path / "i.dcm", ct_slice(RAMP))
        .read_bytes()
        .replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")
    )
    (tmp_path / "i.dcm").write_bytes(unknown)
    for path, name in (
        (tmp_path / "i.dcm", "1.2.840.10008.1.2.9"),
        (real("JPEG-lossy.dcm"), "12 bits encoded as JPEG Extended"),
    ):
        with pytest.raises(ImagingError, match=f"{name}.* not read. Export it uncompressed") as caught:
            prepared(media(path), scratch=tmp_path)
        assert caught.value.kind == "unsupported"
