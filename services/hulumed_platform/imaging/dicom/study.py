"""A DICOM study, or any part of one, to items: read headers, drop what is no image, sort series by series."""

import re
from collections import defaultdict

from pydicom.config import IGNORE
from pydicom.uid import UID, JPEGExtended12Bit

from hulumed_platform.imaging import upstream
from hulumed_platform.imaging.context import Context
from hulumed_platform.imaging.dicom.bitstream import is_bitstream, open_bitstream
from hulumed_platform.imaging.dicom.classify import leave_out, split_images
from hulumed_platform.imaging.dicom.geometry import axis_of
from hulumed_platform.imaging.dicom.header import Header, read_header
from hulumed_platform.imaging.dicom.pixels import READABLE
from hulumed_platform.imaging.dicom.series import open_series
from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.stack import Stack
from hulumed_platform.imaging.types import LeftOut, Media, PrepareOptions, Preprocessing


def open_study(index: int, medium: Media, context: Context) -> tuple[list[Stack], list[LeftOut]]:
    """Items of a study, ordered by series number and UID, and what was left out.

    Raises:
        ImagingError: a file that cannot be read, or nothing that is an image.
    """
    options = medium.options
    if options.preprocessing is Preprocessing.UPSTREAM:
        upstream.refuse_dicom(medium.files[0].label)
    headers = []
    for file in medium.files:
        context.stopwatch.check()
        headers.append(read_header(file, context))
    images, left_out = split_images(headers, index)
    if options.axis is not None:
        others = [header for header in images if axis_of(header.frames[0].orientation) is not options.axis]
        images = [header for header in images if axis_of(header.frames[0].orientation) is options.axis]
        left_out += [leave_out(index, f"not {options.axis}", others)] if others else []
    if not images:
        found = ", ".join(f"{group.count} {group.reason}" for group in left_out)
        raise ImagingError(f"Medium {index + 1} holds no image to look at ({found}). Send the image series.")
    return _open_images(images, options, context), left_out


def _open_images(images: list[Header], options: PrepareOptions, context: Context) -> list[Stack]:
    series: dict[tuple[int, str], list[Header]] = defaultdict(list)
    for header in images:
        check_pixels(header, context)
        series[header.series_number, header.series_instance_uid].append(header)
    stacks: list[Stack] = []
    for key in sorted(series):
        films = [header for header in series[key] if is_bitstream(header)]
        stacks += [open_bitstream(header, options, context) for header in films]
        stacks += open_series([header for header in series[key] if not is_bitstream(header)], options, context)
    return stacks


def check_pixels(header: Header, context: Context) -> None:
    """Refuse an instance whose header announces more than the limits, or more than a compressed file can hold."""
    label = header.file.label
    context.check_plane(header.rows, header.columns, label)
    if not is_bitstream(header):
        _check_encoding(header)
        pixels = header.rows * header.columns * header.samples * header.num_frames
        context.check_expansion(pixels * header.bits_allocated // 8, header.file.path.stat().st_size, label)


def _check_encoding(header: Header) -> None:
    syntax = header.transfer_syntax_uid
    # Of JPEG Extended, permissively licensed decoders read the 8-bit half only.
    if syntax in READABLE and not (syntax == JPEGExtended12Bit and header.bits_stored > 8):
        return
    encoding = UID(syntax, IGNORE).name if re.fullmatch(r"[0-9.]{1,64}", syntax) else "no known transfer syntax"
    raise ImagingError(
        f"{header.file.label}: pixels of {header.bits_stored} bits encoded as {encoding} are not read. "
        "Export it uncompressed.",
        kind="unsupported",
    )
