"""NIfTI-1 and -2 volumes, sliced lazily in anatomical planes.

Planes are shown as radiologists see them: the patient's right on the left of axial and coronal planes, head or front
up, front on the left of sagittal planes. Order of planes: axial from feet to head, coronal from front to back, sagittal
from left to right, which is the order that DICOM series get as well.
"""

import gzip
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.orientations import io_orientation

from hulumed_platform.imaging import upstream
from hulumed_platform.imaging.context import Context, Stopwatch
from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.foreign import parsing
from hulumed_platform.imaging.sampling import evenly, sample_slices
from hulumed_platform.imaging.stack import Pixels, Stack, square_pixels
from hulumed_platform.imaging.types import (
    MEBIBYTE,
    Axis,
    Kind,
    Note,
    PlaneSource,
    PrepareOptions,
    Preprocessing,
    SourceFile,
)
from hulumed_platform.imaging.window import SAMPLED_PLANES, Values, apply_window, robust_window

# World axes of RAS+: 0 to the right, 1 to the front (anterior), 2 to the head (superior); -1 = towards falling values.
LAYOUTS = {
    Axis.AXIAL: ((2, 1), (1, -1), (0, -1)),
    Axis.CORONAL: ((1, -1), (2, -1), (0, -1)),
    Axis.SAGITTAL: ((0, 1), (2, -1), (1, -1)),
}
"""For each axis: (world axis, direction) of the slices, the rows downwards and the columns rightwards."""
ORDERS = {Axis.AXIAL: "feet to head", Axis.CORONAL: "front to back", Axis.SAGITTAL: "left to right"}
OBLIQUE = np.cos(np.deg2rad(20.0))
"""Volumes that are turned further against the patient's axes are called oblique; they are shown as they are stored."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How stored axes become planes: (stored axis, flipped) of slices, rows and columns."""

    slices: tuple[int, bool]
    rows: tuple[int, bool]
    columns: tuple[int, bool]


@dataclass(frozen=True, slots=True)
class Volume:
    """An opened NIfTI file; `array` [x, y, z] is memory-mapped, in stored units and stored axis order."""

    array: npt.NDArray[Any]
    slope: float
    intercept: float
    affine: npt.NDArray[np.float64]
    spacing_mm: tuple[float, float, float]
    color: bool
    """Voxels are records of R, G, B (and A)."""
    notes: tuple[Note, ...]

    def plane(self, layout: Layout, index: int) -> Values:
        """Plane `index` of `layout` in units of the modality: [H, W], or [H, W, 3] uint8 for colour."""
        axis, flipped = layout.slices
        stored = self.array.shape[axis] - 1 - index if flipped else index
        # A view first: np.take would copy the whole file, stored column by column, for every plane.
        plane: Values = np.ascontiguousarray(np.moveaxis(self.array, axis, 0)[stored])
        if self.color:
            plane = np.stack([plane[channel] for channel in ("R", "G", "B")], axis=-1)
        if layout.rows[0] > layout.columns[0]:
            plane = plane.swapaxes(0, 1)
        plane = plane[:: -1 if layout.rows[1] else 1, :: -1 if layout.columns[1] else 1]
        if self.color or (self.slope, self.intercept) == (1.0, 0.0):
            return plane
        scaled: Values = plane * np.float32(self.slope) + np.float32(self.intercept)
        return scaled


def open_nifti(file: SourceFile, options: PrepareOptions, context: Context, *, gzipped: bool) -> Stack:
    """Open a volume; a gzipped one is decompressed to scratch first.

    Raises:
        ImagingError: a broken header, too few bytes, complex or vector values, or over a limit.
    """
    path = _decompress(file, context) if gzipped else file.path
    published = options.preprocessing is Preprocessing.UPSTREAM
    with parsing(file.label, "NIfTI file"):
        volume = _load(path, file.label)
        axis = options.axis or (Axis.AXIAL if published else _default_axis(volume))
        layout = _stored_layout(axis) if published else _layout(volume.affine, axis)
    sides = (layout.slices, layout.rows, layout.columns)
    count, height_px, width_px = (volume.array.shape[side] for side, _ in sides)
    slice_mm, row_mm, column_mm = (1.0, 1.0, 1.0) if published else (volume.spacing_mm[side] for side, _ in sides)
    context.check_plane(height_px, width_px, file.label)
    indices, notes = sample_slices(count, options, context.limits)
    if published:
        indices, notes = upstream.slice_indices(count, options.num_planes), ()
    shown_height_px, shown_width_px, resampled = square_pixels(height_px, width_px, row_mm, column_mm)
    return Stack(
        kind=Kind.VOLUME,
        height_px=shown_height_px,
        width_px=shown_width_px,
        planes=tuple(PlaneSource(file.digest, None, None, i, position_mm=i * slice_mm) for i in indices),
        read=lambda stopwatch: _read(volume, layout, indices, options, label=file.label, stopwatch=stopwatch),
        applies=frozenset({"axis", "num_planes"}) | (frozenset() if volume.color or published else {"window"}),
        description=f"NIfTI volume, {count} slices, {axis if published else _describe(volume, axis)}",
        notes=(*volume.notes, *notes, *resampled, *_window_notes(volume, options)),
    )


def _load(path: Path, label: str) -> Volume:
    with path.open("rb") as stream:
        is_nifti2 = stream.read(8)[4:8] == b"n+2\0"
        stream.seek(0)
        header: Any = (nibabel.Nifti2Header if is_nifti2 else nibabel.Nifti1Header).from_fileobj(stream)  # type: ignore[no-untyped-call]
    stored, notes = _map(path, header, label)
    affine, affine_notes = _affine(header)
    slope, intercept = header.get_slope_inter()
    spacing_mm = [float(side) for side in np.linalg.norm(affine[:3, :3], axis=0)]
    return Volume(
        array=stored,
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
        affine=affine,
        spacing_mm=(spacing_mm[0], spacing_mm[1], spacing_mm[2]),
        color=stored.dtype.names is not None,
        notes=(*notes, *affine_notes),
    )


def _map(path: Path, header: Any, label: str) -> tuple[npt.NDArray[Any], tuple[Note, ...]]:
    """The stored values [x, y, z], memory-mapped: of a 4-D file the first time point."""
    dtype, offset = header.get_data_dtype(), header.get_data_offset()
    shape = tuple(int(side) for side in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    shape += (1,) * (3 - len(shape))
    if dtype.kind == "c" or len(shape) > 4:
        what = "complex values" if dtype.kind == "c" else f"{len(shape)} dimensions"
        raise ImagingError(f"{label} holds {what}. Send a real volume of 3 or 4 dimensions.", kind="unsupported")
    if min(shape) < 1:
        raise ImagingError(f"{label} says it has {' x '.join(map(str, shape))} voxels. Export it again.")
    num_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if offset + num_bytes > path.stat().st_size:
        raise ImagingError(f"{label} ends before its voxels do: {num_bytes} bytes are announced. Send it again, whole.")
    stored = np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order="F")
    if len(shape) == 3:
        return stored, ()
    return stored[..., 0], (Note("first_time_point", f"4-D file: the first of {shape[3]} time points is shown"),)


def _affine(header: Any) -> tuple[npt.NDArray[np.float64], tuple[Note, ...]]:
    affine = np.asarray(header.get_best_affine(), np.float64)
    if not np.isfinite(affine).all() or np.isnan(_orientation(affine)).any():
        base = np.diag([-1.0, 1.0, 1.0, 1.0])
        return base, (
            Note("orientation_assumed", "the file's affine is unusable: radiological storage order is assumed"),
        )
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        text = "the file states no orientation: radiological storage order (first axis to the left) is assumed"
        return affine, (Note("orientation_assumed", text),)
    return affine, ()


def _describe(volume: Volume, axis: Axis) -> str:
    cosines = np.abs(volume.affine[:3, :3]) / volume.spacing_mm
    return f"{'oblique ' if cosines.max(axis=0).min() < OBLIQUE else ''}{axis}, {ORDERS[axis]}"


def _default_axis(volume: Volume) -> Axis:
    """Axial, or for a single slice the plane that it lies in."""
    thin = [axis for axis in Axis if volume.array.shape[_layout(volume.affine, axis).slices[0]] == 1]
    return thin[0] if len(thin) == 1 else Axis.AXIAL


def _layout(affine: npt.NDArray[np.float64], axis: Axis) -> Layout:
    stored = {int(world): (i, int(direction)) for i, (world, direction) in enumerate(_orientation(affine))}
    sides = [(stored[world][0], stored[world][1] != direction) for world, direction in LAYOUTS[axis]]
    return Layout(*sides)


def _orientation(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """For each stored axis the nearest world axis and direction; NaN where an axis goes nowhere."""
    orientation: npt.NDArray[np.float64] = io_orientation(affine)  # type: ignore[no-untyped-call]
    return orientation


def _stored_layout(axis: Axis) -> Layout:
    """Published: the axes as they are stored, none flipped."""
    cut = upstream.STORED_AXES[axis]
    rows, columns = (side for side in range(3) if side != cut)
    return Layout((cut, False), (rows, False), (columns, False))


def _read(
    volume: Volume, layout: Layout, indices: list[int], options: PrepareOptions, *, label: str, stopwatch: Stopwatch
) -> Iterator[Pixels]:
    published = options.preprocessing is Preprocessing.UPSTREAM
    window = options.window
    with parsing(label, "NIfTI file"):
        if window is None and not volume.color and not published:
            count = volume.array.shape[layout.slices[0]]
            window = robust_window(volume.plane(layout, i) for i in evenly(count, SAMPLED_PLANES))
    for index in indices:
        stopwatch.check()
        with parsing(label, "NIfTI file"):
            plane = volume.plane(layout, index)
            if window is not None:
                pixels = apply_window(plane, window)
            else:
                pixels = np.ascontiguousarray(plane) if volume.color else upstream.stretch(plane)
        yield pixels


def _window_notes(volume: Volume, options: PrepareOptions) -> tuple[Note, ...]:
    if volume.color or options.window is not None:
        return ()
    if options.preprocessing is Preprocessing.UPSTREAM:
        return (Note("window_per_slice", "each slice is stretched from its minimum to its maximum, as published"),)
    text = "values between the 0.5th and the 99.5th percentile of the volume are shown black to white"
    return (Note("window_percentiles", text),)


def _decompress(file: SourceFile, context: Context) -> Path:
    encoded_bytes, decoded_bytes = file.path.stat().st_size, 0
    with (
        tempfile.NamedTemporaryFile(dir=context.scratch, suffix=".nii", delete=False) as plain,
        parsing(file.label, "gzip stream"),
        gzip.open(file.path) as packed,
    ):
        while chunk := packed.read(4 * MEBIBYTE):
            context.stopwatch.check()
            decoded_bytes += len(chunk)
            context.check_inflated(decoded_bytes, encoded_bytes, file.label)
            context.scratch_space.take(len(chunk), file.label)
            plain.write(chunk)
    return Path(plain.name)
