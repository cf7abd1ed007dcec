"""What the published code does differently, for comparing with it: nowhere else is any of this decided.

* The planner takes `height, width = image.size` of PIL input, which is (width, height): pictures and NIfTI slices that
  are not square are resized to the transposed shape. Video frames are arrays and keep theirs.
* NIfTI: stored axes as they are (axial = 2, coronal = 1, sagittal = 0), 180 slices by integer linspace (some twice
  where the volume is shorter), each slice stretched from its own minimum to its own maximum.
* Pictures: as they lie in the file, whatever their EXIF orientation; more than 8 bits are cut off as Pillow does it.
* Videos: pixels that are not square stay as stored. Which frames are taken is as ours: the published packages differ.
* DICOM is not read at all.
"""

import numpy as np

from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.stack import Pixels, Stack
from hulumed_platform.imaging.types import Axis, Kind
from hulumed_platform.imaging.window import Values

NUM_SLICES = 180
STORED_AXES = {Axis.SAGITTAL: 0, Axis.CORONAL: 1, Axis.AXIAL: 2}


def planned_shape(stack: Stack) -> tuple[float, float]:
    """Height and width as the published planner sees them."""
    if stack.kind is Kind.VIDEO:
        return stack.height_px, stack.width_px
    return stack.width_px, stack.height_px


def slice_indices(count: int, num_slices: int | None) -> list[int]:
    """The slices of a NIfTI volume: `numpy.linspace` cut to integers."""
    return [int(i) for i in np.linspace(0, count - 1, num_slices or NUM_SLICES, dtype=int)]


def stretch(values: Values) -> Pixels:
    """One slice from its own minimum to its own maximum; a constant slice is cast as it is."""
    plane = np.nan_to_num(values.astype(np.float64))
    low, high = plane.min(), plane.max()
    if high <= low:
        return np.clip(plane, 0, 255).astype(np.uint8)
    stretched: Pixels = ((plane - low) / (high - low) * 255.0).astype(np.uint8)
    return stretched


def refuse_dicom(label: str) -> None:
    """Raise the error for DICOM input."""
    raise ImagingError(
        f"{label} is DICOM, which the published preprocessing cannot read. Leave preprocessing at hulumed.",
        kind="unsupported",
    )
