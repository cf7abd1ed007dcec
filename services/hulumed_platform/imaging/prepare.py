"""From media to planes: the one door of this package."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from hulumed_platform.imaging import upstream
from hulumed_platform.imaging.budget import Grid, Shape, num_tokens, plan
from hulumed_platform.imaging.context import Context, ScratchSpace, Stopwatch
from hulumed_platform.imaging.dicom.study import open_study
from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.nifti import open_nifti
from hulumed_platform.imaging.patches import CHANNELS, novelty, patchify
from hulumed_platform.imaging.picture import open_pictures
from hulumed_platform.imaging.sniff import Format, sniff
from hulumed_platform.imaging.stack import Pixels, Stack
from hulumed_platform.imaging.types import (
    Item,
    LeftOut,
    Limits,
    Media,
    Note,
    PreparedPlane,
    PrepareOptions,
    Preprocessing,
    TokenBudget,
)
from hulumed_platform.imaging.video import open_video

PREPROCESSING_VERSION = "hulumed-planes/1"


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a call's media become; the pixels are read only while `planes` runs."""

    items: tuple[Item, ...]
    left_out: tuple[LeftOut, ...]
    _stacks: tuple[Stack, ...]
    _patch_size: int
    _new_stopwatch: Callable[[], Stopwatch]

    def planes(self) -> Iterator[PreparedPlane]:
        """Every plane, item by item; a few are in memory at a time. May be called again.

        Raises:
            ImagingError: pixels that cannot be decoded, or that took too long.
        """
        stopwatch = self._new_stopwatch()
        for index, (item, stack) in enumerate(zip(self.items, self._stacks, strict=True)):
            for plane in _planes_of(index, item, stack, self._patch_size, stopwatch):
                with stopwatch.stopped():
                    yield plane


def prepare(media: Sequence[Media], *, limits: Limits, budget: TokenBudget, scratch: Path) -> Preparation:
    """Read headers and geometry, sort, plan the resize. Of pixels, only those of animations and of the first frame of a
    video are decoded yet.

    Args:
        media: what the request refers to, in its order; one medium may become several items (a DICOM study).
        limits: what the call may use.
        budget: visual tokens of the call.
        scratch: an existing folder for decompressed files; the caller removes it after the last pass over `planes`.

    Raises:
        ImagingError: input that is broken, unsupported, too large or too slow, or an option that does not apply.
    """
    _check_bytes(media, limits)
    context = Context(limits, scratch, ScratchSpace(limits.max_total_bytes), Stopwatch(limits.timeout_s))
    stacks: list[tuple[int, Stack]] = []
    left_out: list[LeftOut] = []
    for index, medium in enumerate(media):
        _check_options(medium.options, limits)
        opened, dropped = _open(index, medium, context)
        _check_applies(medium.options, opened)
        stacks += [(index, stack) for stack in opened]
        left_out += dropped
    _check_items(stacks, limits)
    items = _plan_items(stacks, media, budget)
    return Preparation(
        items,
        tuple(left_out),
        tuple(stack for _, stack in stacks),
        budget.patch_size,
        lambda: Stopwatch(limits.timeout_s),
    )


def _open(index: int, medium: Media, context: Context) -> tuple[list[Stack], list[LeftOut]]:
    formats = {sniff(file) for file in medium.files}
    if len(formats) != 1:
        raise ImagingError(
            f"Medium {index + 1} holds {' and '.join(sorted(formats)) or 'no files'}. Send one kind of file in each."
        )
    found, left_out = formats.pop(), list[LeftOut]()
    if found is Format.DICOM:
        stacks, left_out = open_study(index, medium, context)
    elif found is Format.PICTURE:
        stacks = open_pictures(medium, context)
    elif found is Format.VIDEO:
        stacks = [open_video(file, medium.options, context) for file in medium.files]
    else:
        stacks = [open_nifti(file, medium.options, context, gzipped=found is Format.NIFTI_GZ) for file in medium.files]
    wanted = [stack for stack in stacks if medium.kind in (None, stack.kind)]
    others = [stack for stack in stacks if stack not in wanted]
    if not wanted:
        kinds = ", ".join(sorted({stack.kind for stack in stacks}))
        raise ImagingError(f"Medium {index + 1} was sent as {medium.kind} but is {kinds}: {stacks[0].description}.")
    return wanted, left_out + [_leave_out(index, f"not {medium.kind}", stack) for stack in others]


def _leave_out(index: int, reason: str, stack: Stack) -> LeftOut:
    uids = dict.fromkeys(plane.sop_instance_uid for plane in stack.planes)
    return LeftOut(index, reason, stack.description, len(stack.planes), tuple(uid for uid in uids if uid))


def _plan_items(stacks: Sequence[tuple[int, Stack]], media: Sequence[Media], budget: TokenBudget) -> tuple[Item, ...]:
    shapes = [_shape(stack, media[index].options) for index, stack in stacks]
    grids = plan(shapes, budget) if shapes else []
    total = num_tokens(shapes, grids)
    over: tuple[Note, ...] = ()
    if total > budget.max_tokens:
        text = f"{total} visual tokens, over the budget of {budget.max_tokens}: each plane gets at least"
        over = (Note("over_budget", f"{text} {budget.min_tokens}. Ask for fewer planes to see more of each."),)
    return tuple(_item(index, stack, grid, over) for (index, stack), grid in zip(stacks, grids, strict=True))


def _shape(stack: Stack, options: PrepareOptions) -> Shape:
    height_px, width_px = stack.height_px, stack.width_px
    if options.preprocessing is Preprocessing.UPSTREAM:
        height_px, width_px = upstream.planned_shape(stack)
    return Shape(len(stack.planes), height_px, width_px, stack.kind.merge)


def _item(index: int, stack: Stack, grid: Grid, notes: tuple[Note, ...]) -> Item:
    return Item(
        media=index,
        kind=stack.kind,
        height=grid.height,
        width=grid.width,
        merge=stack.kind.merge,
        planes=stack.planes,
        modality=stack.modality,
        description=stack.description,
        series_instance_uid=stack.series_instance_uid,
        notes=(*stack.notes, *notes),
    )


def _planes_of(index: int, item: Item, stack: Stack, patch_size: int, stopwatch: Stopwatch) -> Iterator[PreparedPlane]:
    previous: npt.NDArray[np.uint8] | None = None
    count = 0
    for count, pixels in enumerate(stack.read(stopwatch), start=1):
        stopwatch.check()
        resized = _resize(pixels, item.height * patch_size, item.width * patch_size)
        patches = patchify(resized[np.newaxis], patch_size=patch_size, merge=item.merge)[0]
        if previous is None:
            new = np.full(item.tokens_per_plane, np.inf, np.float32)
        else:
            new = novelty(patches, previous, item.merge)
        yield PreparedPlane(index, count - 1, patches, new)
        previous = patches
    if count != item.num_planes:
        raise ImagingError(f"{item.description}: only {count} of {item.num_planes} planes could be decoded.")


def _resize(pixels: Pixels, height_px: int, width_px: int) -> npt.NDArray[np.uint8]:
    """Bicubic on uint8, as published; grey planes get their three equal channels afterwards."""
    resized = np.asarray(Image.fromarray(pixels).resize((width_px, height_px), Image.Resampling.BICUBIC))
    if resized.ndim == 2:
        return np.broadcast_to(resized[..., np.newaxis], (*resized.shape, CHANNELS))
    return resized


def _check_bytes(media: Sequence[Media], limits: Limits) -> None:
    total = 0
    for file in (file for medium in media for file in medium.files):
        size = file.path.stat().st_size
        total += size
        if size > limits.max_bytes:
            raise ImagingError(
                f"{file.label} has {size} bytes, more than max_bytes = {limits.max_bytes}. Send less.", kind="too_large"
            )
    if total > limits.max_total_bytes:
        raise ImagingError(
            f"All files together have {total} bytes, more than max_total_bytes = {limits.max_total_bytes}. Send fewer.",
            kind="too_large",
        )


def _check_items(stacks: Sequence[tuple[int, Stack]], limits: Limits) -> None:
    if len(stacks) > limits.max_items:
        raise ImagingError(
            f"{len(stacks)} images, series and videos are more than max_items = {limits.max_items}. Ask about fewer.",
            kind="too_large",
        )


def _check_options(options: PrepareOptions, limits: Limits) -> None:
    """Refuse values that cannot be meant."""
    numbers = (options.start_s, options.end_s, options.fps, options.window.center if options.window else None)
    if not all(value is None or np.isfinite(value) for value in numbers):
        raise ImagingError("Options must be finite numbers.")
    if options.num_planes is not None and options.num_planes < 1:
        raise ImagingError(f"num_planes = {options.num_planes} must be 1 or more.")
    if options.num_planes is not None and options.num_planes > limits.max_planes:
        raise ImagingError(
            f"num_planes = {options.num_planes} is more than max_planes = {limits.max_planes}.", kind="too_large"
        )
    if options.fps is not None and options.fps <= 0:
        raise ImagingError(f"fps = {options.fps:g} must be above 0.")
    if options.window is not None and not 0 < options.window.width < np.inf:
        raise ImagingError(f"A window width of {options.window.width:g} must be above 0.")
    start_s, end_s = options.start_s or 0.0, options.end_s
    if start_s < 0 or (end_s is not None and end_s < start_s):
        until = "the end" if end_s is None else f"{end_s:g} seconds"
        raise ImagingError(f"The time range {start_s:g} to {until} must not be negative or end before it starts.")


def _check_applies(options: PrepareOptions, stacks: Sequence[Stack]) -> None:
    """Refuse an option that means nothing for any item of its medium: ignoring it would look like obeying it."""
    applies = frozenset[str]().union(*(stack.applies for stack in stacks))
    for field in fields(options):
        given = getattr(options, field.name) is not None and field.name != "preprocessing"
        if given and field.name not in applies:
            what = stacks[0].description if stacks else "input without images"
            raise ImagingError(f"The option {field.name} does not apply to this {what}. Leave it out.")
