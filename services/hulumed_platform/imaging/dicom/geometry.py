"""Slices in space: their order along the slice normal, and what is odd about their positions.

Coordinates are the patient's, LPS: x to the left, y to the back, z to the head, in mm (PS3.3 C.7.6.2.1.1).
InstanceNumber is no order: scanners number by time, by reconstruction or backwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hulumed_platform.imaging.dicom.header import FrameHeader, Header, Vector
from hulumed_platform.imaging.types import Axis, Note

DIRECTIONS = {Axis.AXIAL: (2, 1.0), Axis.CORONAL: (1, 1.0), Axis.SAGITTAL: (0, -1.0)}
"""LPS axis and direction in which slices are shown: to the head, to the back, to the right."""
ORDERS = {Axis.AXIAL: "feet to head", Axis.CORONAL: "front to back", Axis.SAGITTAL: "left to right"}
SAME_ORIENTATION = np.cos(np.deg2rad(5.0))
"""Slices of one stack may drift by a few degrees."""
OBLIQUE = np.cos(np.deg2rad(20.0))
SAME_POSITION_MM = 1e-3
USUAL = (1.0, 1.0, -1.0)
"""Usual display: columns run to the patient's left or back, rows downwards run to the back or the feet."""
ALONG = 0.8
"""Cosine from which a side of a slice runs along one patient axis; sides between two axes are left as stored."""


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One frame of one instance; `frame` is 0-based."""

    header: Header
    frame: int

    @property
    def info(self) -> FrameHeader:
        """What the file says of this frame."""
        return self.header.frames[self.frame]

    @property
    def placed(self) -> bool:
        """Whether position and orientation are known."""
        info, header = self.info, self.header
        if header.num_frames > 1 and not header.spread:
            return False
        return info.position_mm is not None and normal(info.orientation) is not None


def normal(orientation: Vector | None) -> Vector | None:
    """Unit normal of a slice; None for an orientation that spans no plane."""
    if orientation is None:
        return None
    cross: Vector = np.cross(orientation[:3], orientation[3:]).astype(np.float64)
    length = float(np.linalg.norm(cross))
    return cross * (1 / length) if length > 1e-3 else None


def axis_of(orientation: Vector | None) -> Axis | None:
    """The anatomical plane nearest to a slice."""
    direction = normal(orientation)
    if direction is None:
        return None
    nearest = int(np.argmax(np.abs(direction)))
    return next(axis for axis, (world, _) in DIRECTIONS.items() if world == nearest)


def describe(orientation: Vector | None) -> str:
    """`axial, feet to head`, and whether the slices are oblique to it."""
    axis, direction = axis_of(orientation), normal(orientation)
    if axis is None or direction is None:
        return "orientation unknown"
    oblique = "oblique " if np.abs(direction).max() < OBLIQUE else ""
    return f"{oblique}{axis}, {ORDERS[axis]}"


def flips(orientation: Vector | None) -> tuple[int, int]:
    """Steps, 1 or -1, through rows and columns that turn a stored slice to the usual display.

    Nothing on a plane tells the model which side is which, so that all are shown alike: front or head up, right on the
    left. Only mirroring is undone; a slice whose rows and columns are swapped stays so.
    """
    if orientation is None:
        return 1, 1
    steps = []
    for side in (orientation[3:], orientation[:3]):
        world = int(np.argmax(np.abs(side)))
        steps.append(-1 if side[world] * USUAL[world] < -ALONG else 1)
    return steps[0], steps[1]


def same_orientation(a: Vector | None, b: Vector | None) -> bool:
    """Whether two slices belong to one stack by their orientation."""
    if a is None or b is None:
        return a is b
    rows, columns = float(a[:3] @ b[:3]), float(a[3:] @ b[3:])
    return min(rows, columns) > float(SAME_ORIENTATION)


def positions_mm(slices: Sequence[Slice]) -> Vector:
    """Projection of each slice's position on the normal of the first, growing in the direction of `DIRECTIONS`."""
    orientation = slices[0].info.orientation
    direction, axis = normal(orientation), axis_of(orientation)
    assert direction is not None
    assert axis is not None
    world, sign = DIRECTIONS[axis]
    direction = direction * np.sign(direction[world]) * sign
    corners = np.array([np.zeros(3) if s.info.position_mm is None else s.info.position_mm for s in slices])
    along_mm: Vector = corners @ direction
    return along_mm


def spacing_notes(slices: Sequence[Slice], along_mm: Vector) -> list[Note]:
    """What a reader of the volume should know: gaps, uneven spacing, tilt, drift. Slices sorted, without duplicates."""
    gaps = np.diff(along_mm)
    if gaps.size == 0:
        return []
    notes, typical = [], float(np.median(gaps))
    missing = int(sum(round(gap / typical) - 1 for gap in gaps if gap > 1.5 * typical))
    if missing:
        notes.append(Note("missing_slices", f"about {missing} slices are missing (usual spacing {typical:.2f} mm)"))
    elif float(np.abs(gaps - typical).max()) > 0.05 * typical:
        text = f"slice spacing is uneven, {gaps.min():.2f} to {gaps.max():.2f} mm; slices are shown as they are"
        notes.append(Note("uneven_spacing", text))
    return notes + _tilt_notes(slices) + _drift_notes(slices)


def _tilt_notes(slices: Sequence[Slice]) -> list[Note]:
    """A stack that leans: slice centres move sideways as well as along the normal (gantry tilt)."""
    first, last = slices[0].info, slices[-1].info
    direction = normal(first.orientation)
    assert direction is not None
    assert first.position_mm is not None
    assert last.position_mm is not None
    travel = last.position_mm - first.position_mm
    cosine = abs(float(travel @ direction)) / max(float(np.linalg.norm(travel)), 1e-9)
    angle_deg = float(np.rad2deg(np.arccos(min(1.0, cosine))))
    if angle_deg < 1.0:
        return []
    return [Note("gantry_tilt", f"the stack leans by {angle_deg:.1f} degrees; slices are shown without shearing back")]


def _drift_notes(slices: Sequence[Slice]) -> list[Note]:
    first = slices[0].info.orientation
    angles = [_angle_deg(first, s.info.orientation) for s in slices]
    if max(angles) < 0.5:
        return []
    return [Note("orientation_drift", f"slice orientation drifts by up to {max(angles):.1f} degrees")]


def _angle_deg(a: Vector | None, b: Vector | None) -> float:
    one, other = normal(a), normal(b)
    if one is None or other is None:
        return 0.0
    return float(np.rad2deg(np.arccos(np.clip(one @ other, -1.0, 1.0))))
