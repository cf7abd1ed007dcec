"""Grey values to 0..255: the VOI functions of DICOM PS3.3 C.11.2.1 and robust percentiles."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from hulumed_platform.imaging.stack import Pixels
from hulumed_platform.imaging.types import Window

PERCENTILES = (0.5, 99.5)
SAMPLED_PLANES = 24
SAMPLED_VALUES = 40_000
"""Values of one plane that percentiles look at: a regular grid of its pixels."""

Values = npt.NDArray[Any]
"""Grey values of one plane in units of the modality: [H, W], any real dtype."""


class VoiFunction(StrEnum):
    """(0028,1056) VOI LUT Function."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


def apply_window(values: Values, window: Window, function: VoiFunction = VoiFunction.LINEAR_EXACT) -> Pixels:
    """Map values to 0 (black) .. 255 (white); NaN becomes black.

    Args:
        values: [H, W] in units of the modality.
        window: its width must be positive; LINEAR narrows it by 1 as the standard says, to no less than a step.
        function: C.11.2.1.2.1 LINEAR, C.11.2.1.3.2 LINEAR_EXACT or C.11.2.1.3.1 SIGMOID.
    """
    center, width = window.center, window.width
    if function is VoiFunction.LINEAR and width >= 1:
        center, width = center - 0.5, max(width - 1, 1e-3)
    grey: Values = values.astype(np.float32)
    # In place: this runs over every pixel, and memory is what it waits for.
    grey -= np.float32(center)
    grey /= np.float32(width)
    if function is VoiFunction.SIGMOID:
        grey = 255.0 / (1.0 + np.exp(np.clip(-4.0 * grey, -80, 80)))
    else:
        grey += np.float32(0.5)
        grey *= np.float32(255.0)
    np.clip(grey, 0.0, 255.0, out=grey)
    grey[np.isnan(grey)] = 0.0
    return np.rint(grey, out=grey).astype(np.uint8)


def robust_window(planes: Iterable[Values]) -> Window:
    """Window from the 0.5th to the 99.5th percentile of planes [H, W], in bounded memory; NaN does not count."""
    samples = [_sample(plane) for plane in planes]
    values = np.concatenate(samples) if samples else np.zeros(0, np.float32)
    if values.size == 0:
        return Window(0.5, 1.0)
    low, high = (float(value) for value in np.percentile(values, PERCENTILES))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if high <= low:
        return Window(low + 0.5, 1.0)
    return Window((low + high) / 2, high - low)


def _sample(plane: Values) -> npt.NDArray[np.float32]:
    step = max(1, int(np.ceil(np.sqrt(plane.size / SAMPLED_VALUES))))
    values = plane[::step, ::step].astype(np.float32)
    finite: npt.NDArray[np.float32] = values[np.isfinite(values)]
    return finite
