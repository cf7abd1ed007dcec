"""Which grey window an item is shown in: one for all of its slices, never one for each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hulumed_platform.imaging.dicom.geometry import Slice
from hulumed_platform.imaging.dicom.header import Header
from hulumed_platform.imaging.types import Note, PrepareOptions, Window
from hulumed_platform.imaging.window import VoiFunction

SOFT_TISSUE = Window(40.0, 400.0)
"""What a CT without a window of its own is shown in, in HU."""


@dataclass(frozen=True, slots=True)
class Grey:
    """How the grey values of an item become 0..255; `window` None with `lut` False = robust percentiles of the item."""

    window: Window | None
    function: VoiFunction = VoiFunction.LINEAR_EXACT
    lut: bool = False
    """Take the file's own VOI LUT Sequence."""


def is_color(header: Header) -> bool:
    """Whether frames carry colour, and so no grey window."""
    return header.samples > 1 or header.photometric == "PALETTE COLOR"


def choose_grey(slices: Sequence[Slice], options: PrepareOptions) -> tuple[Grey, tuple[Note, ...]]:
    """The rule for all slices of an item: asked for, else the file's, else by modality, else robust percentiles."""
    if is_color(slices[0].header):
        return Grey(None), ()
    if options.window is not None:
        return Grey(options.window), ()
    return _of_file(slices) or _of_modality(slices[0])


def _of_file(slices: Sequence[Slice]) -> tuple[Grey, tuple[Note, ...]] | None:
    """The VOI LUT, or the first window of most slices (PS3.3 C.11.2)."""
    if all(one.header.has_voi_lut for one in slices):
        return Grey(None, lut=True), ()
    stated = Counter((one.info.window, one.info.voi_function) for one in slices if one.info.window is not None)
    if not stated:
        return None
    (window, function), count = stated.most_common(1)[0]
    if 2 * count <= len(slices):
        return None
    notes = []
    if len(stated) > 1:
        text = f"slices state {len(stated)} windows; the most common one is used for all"
        notes.append(Note("window_most_common", text))
    if any(one.info.num_windows > 1 for one in slices):
        text = (
            f"the first of several windows of the file, centre {window.center:g} and width {window.width:g}, is shown"
        )
        notes.append(Note("window_first", text))
    return Grey(window, function), tuple(notes)


def _of_modality(one: Slice) -> tuple[Grey, tuple[Note, ...]]:
    header, rescale = one.header, one.info.rescale
    if header.modality == "CT" and header.hounsfield and rescale is not None:
        text = "no common window is stated: soft tissue, centre 40 and width 400 HU, is shown"
        return Grey(SOFT_TISSUE), (Note("window_default", text),)
    if header.bits_stored <= 8 and not header.signed and rescale in (None, (1.0, 0.0)):
        top = 2.0**header.bits_stored - 1
        return Grey(Window(top / 2, top)), ()
    text = "values between the 0.5th and the 99.5th percentile of the whole item are shown black to white"
    return Grey(None), (Note("window_percentiles", text),)
