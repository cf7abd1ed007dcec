"""Renderings are judged by their size and first row, whatever wrote them."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from hulumed_platform.dicomweb_check.picture import first_row, size_of


def written(array: NDArray[np.uint8], kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True})])
def test_size_is_width_and_height(kind: str, options: dict[str, object]) -> None:
    """Not height and width."""
    assert size_of(written(np.zeros((5, 9), np.uint8), kind, **options)) == (9, 5)


@pytest.mark.parametrize("shape", [(3, 31), (3, 31, 3), (3, 31, 4)], ids=["grey", "rgb", "rgba"])
@pytest.mark.parametrize("level", [0, 9])
def test_first_row_of_a_png(shape: tuple[int, ...], level: int) -> None:
    """Every colour type, and the filters that the encoder picks for gradients and for noise."""
    for values in (np.arange(np.prod(shape)) % 251, np.random.default_rng(1).integers(0, 256, np.prod(shape))):
        array = values.astype(np.uint8).reshape(shape)
        row = array[0] if array.ndim == 2 else array[0, :, 0]
        assert first_row(written(array, "PNG", compress_level=level)) == row.tolist()


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff\xd9"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    """A page of a proxy is not a picture of size zero."""
    with pytest.raises(ValueError, match=r"JPEG|PNG"):
        size_of(data)
