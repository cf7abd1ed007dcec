"""Planes to flat patches in the published order, and what is new in a plane.

Order (Hulu-Med image processor): rows of blocks, blocks in a row, then the merge x merge patches of a block. A patch is
channel-major: all red pixels, all green, all blue. So the `merge**2` patches of a token lie next to each other.
"""

import numpy as np
import numpy.typing as npt

from hulumed_platform.imaging.types import PATCH_SIZE

CHANNELS = 3


def patchify(planes_u8: npt.NDArray[np.uint8], *, patch_size: int = PATCH_SIZE, merge: int) -> npt.NDArray[np.uint8]:
    """Cut planes into patches, in one copy.

    Args:
        planes_u8: [t, H, W, 3]; H and W multiples of `patch_size * merge`.
        patch_size: side of a patch, in pixels.
        merge: side of the square of patches that becomes one token.

    Returns:
        uint8 [t, (H / patch_size) * (W / patch_size), 3 * patch_size**2].

    Raises:
        ValueError: a side is not a multiple of `patch_size * merge`.
    """
    t, height_px, width_px, channels = planes_u8.shape
    factor = patch_size * merge
    if height_px % factor or width_px % factor or channels != CHANNELS:
        raise ValueError(f"planes of {height_px} x {width_px} x {channels} do not divide by {factor} x {factor} x 3")
    h, w = height_px // patch_size, width_px // patch_size
    blocks = planes_u8.reshape(t, h // merge, merge, patch_size, w // merge, merge, patch_size, channels)
    return blocks.transpose(0, 1, 4, 2, 5, 7, 3, 6).reshape(t, h * w, channels * patch_size**2)


def unpatchify(
    patches: npt.NDArray[np.uint8], *, height: int, width: int, patch_size: int = PATCH_SIZE, merge: int
) -> npt.NDArray[np.uint8]:
    """Put patches [t, height * width, 588] (`height`, `width` in patches) together again: uint8 [t, H, W, 3]."""
    t = patches.shape[0]
    shape = (t, height // merge, width // merge, merge, merge, CHANNELS, patch_size, patch_size)
    blocks = patches.reshape(shape).transpose(0, 1, 3, 6, 2, 4, 7, 5)
    return blocks.reshape(t, height * patch_size, width * patch_size, CHANNELS)


def novelty(current: npt.NDArray[np.uint8], previous: npt.NDArray[np.uint8], merge: int) -> npt.NDArray[np.float32]:
    """Mean absolute difference of every token to the same token of the previous plane, in normalised units.

    With the published mean = std = 0.5 a grey level is 2/255 wide. Sums are exact integers.

    Args:
        current: uint8 [height * width, 588], as `patchify` lays out one plane.
        previous: the plane before it, same shape.
        merge: side of the square of patches that becomes one token.

    Returns:
        float32 [height * width / merge**2].
    """
    difference = np.maximum(current, previous) - np.minimum(current, previous)
    per_token = difference.reshape(-1, merge**2 * current.shape[-1])
    sums = per_token.sum(axis=1, dtype=np.uint32)
    scaled: npt.NDArray[np.float32] = (sums * (2.0 / 255.0 / per_token.shape[1])).astype(np.float32)
    return scaled
