"""The preprocessing version: a promise about pixels."""

import hashlib
from pathlib import Path

import numpy as np

from hulumed_platform.imaging.prepare import PREPROCESSING_VERSION
from tests.imaging.samples import ct_slice, media, nifti, picture, prepared, write

PLANES = {"hulumed-planes/1": "dded42b7f3e1be0ee99230fa421de4d6b20167d1e5af8868bc5e8ffdee9846eb"}
"""Digest of the planes below, by version: versions may be added, digests never change."""


def test_other_pixels_are_another_version(tmp_path: Path) -> None:
    """Caches and provenance go by the version: when this fails, raise PREPROCESSING_VERSION and add its digest."""
    rng = np.random.default_rng(0)
    slices = [
        write(tmp_path / f"{i}.dcm", ct_slice(rng.integers(0, 2000, (90, 120)).astype(np.int16), **place))
        for i, place in enumerate([{"ImagePositionPatient": [0, 0, z]} for z in (10, 0, 5)])
    ]
    volume = nifti(tmp_path / "v.nii", rng.integers(0, 500, (70, 80, 9)).astype(np.int16), np.diag([1, 1, 2, 1]))
    photograph = picture(tmp_path / "p.png", rng.integers(0, 256, (100, 150, 3)).astype(np.uint8))
    digest = hashlib.sha256()
    for plane in prepared(media(slices), media(volume), media(photograph), scratch=tmp_path).planes():
        digest.update(plane.patches.tobytes())
    assert digest.hexdigest() == PLANES[PREPROCESSING_VERSION]
