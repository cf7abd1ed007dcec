"""Broken bytes: whatever is cut off or flipped, the end is success or `ImagingError`."""

import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.types import Limits
from tests.imaging.samples import media, nifti, picture, prepared, real, video

LIMITS = Limits(max_plane_pixels=1_000_000, max_planes=8, timeout_s=20)
RGB = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)


def seeds() -> dict[str, bytes]:
    """Small valid files of every format."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = [picture(folder / f"p.{suffix}", RGB) for suffix in ("png", "jpg", "tiff", "webp", "gif")]
        made += [nifti(folder / f"v.{suffix}", RGB) for suffix in ("nii", "nii.gz")]
        made += [video(folder / f"f.{suffix}", num_frames=4) for suffix in ("mp4", "avi", "mkv")]
        files = {path.name: path.read_bytes() for path in made}
    for name in ("MR_small_RLE.dcm", "CT_small.dcm", "JPEGLSNearLossless_16.dcm", "emri_small_jpeg_2k_lossless.dcm",
                 "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_jpeg_gdcm.dcm", "image_dfl.dcm", "SC_rgb_gdcm_KY.dcm"):  # fmt: skip
        files[name] = real(name).read_bytes()
    return files


SEEDS = seeds()


def survives(content: bytes) -> None:
    """Prepare and read; only `ImagingError` may come out."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "object"
        path.write_bytes(content)
        with suppress(ImagingError):
            for plane in prepared(media(path), scratch=Path(name), limits=LIMITS).planes():
                assert plane.patches.dtype == np.uint8


@pytest.mark.parametrize("name", SEEDS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_truncations_and_bit_flips(name: str, data: st.DataObject) -> None:
    """Headers are hit more often than pixels, since that is where parsers break."""
    content = bytearray(SEEDS[name])
    head = st.integers(0, min(len(content), 1500) - 1)
    for at in data.draw(st.lists(head | st.integers(0, len(content) - 1), max_size=6)):
        content[at] = data.draw(st.integers(0, 255))
    survives(bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))]))
