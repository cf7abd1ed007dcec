"""Rendered pictures and thumbnails (PS3.18, sections 10.4.1.1.3 and 10.4.1.1.7), drawn by a child process."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from hulumed_platform.archive.retrieve import Located
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway.dicomweb.accept import MediaRange, accepted, not_acceptable
from hulumed_platform.gateway.dicomweb.answers import warning_header
from hulumed_platform.gateway.dicomweb.related import HEADERS, Part, Parts, related, single
from hulumed_platform.gateway.dicomweb.wado import INSTANCE, SERIES, STUDY, Target, Wanted, frame_numbers

router = APIRouter(prefix="/dicom-web", tags=["DICOMweb"])

_PICTURES = ("image/jpeg", "image/png", "image/gif")
"""The first is what a client gets that does not mind."""
_PDF_CLASS, _PDF, _PDF_ELEMENT = "1.2.840.10008.5.1.4.1.1.104.1", "application/pdf", "00420011"
_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "linear_exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_MAX_SIDE = 16_384
_THUMBNAIL = [256, 256]
_TRIES = 8
"""Instances that are looked at for one that stands for a series: some have nothing to show."""
_IGNORED = ("annotation", "iccprofile")
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "A picture.", "content": {media_type: {} for media_type in _PICTURES}},
    400: {"description": "A parameter is malformed."},
    404: {"description": "No such study, series, instance or frame."},
    406: {"description": "There is no picture of it, or none of the type that is asked for."},
}


@router.get(f"{STUDY}/rendered", responses=_RESPONSES, response_model=None)
@router.get(f"{SERIES}/rendered", responses=_RESPONSES, response_model=None)
@router.get(f"{INSTANCE}/rendered", responses=_RESPONSES, response_model=None)
async def render(wanted: Wanted) -> Response:
    """The first frame; of a series or study a picture from its middle, or, as multipart/related, all of them."""
    if len(wanted.instances) == 1 and wanted.instances[0].sop_class_uid == _PDF_CLASS:
        return await _document(wanted)
    form = _form(wanted.request)
    options = _options(wanted.request.query_params)
    if form.multipart:
        return await related(_all(wanted, form.media_type, options), form.media_type, wanted.door.limiter)
    return await _one(wanted, form.media_type, 1, options)


@router.get(f"{INSTANCE}/frames/{{frames}}/rendered", responses=_RESPONSES, response_model=None)
async def render_frames(wanted: Wanted, frames: str) -> Response:
    """One frame, or several as multipart/related."""
    form, numbers = _form(wanted.request), frame_numbers(frames)
    options = _options(wanted.request.query_params)
    if len(numbers) == 1 and not form.multipart:
        return await _one(wanted, form.media_type, numbers[0], options)
    return await related(_frames(wanted, form.media_type, numbers, options), form.media_type, wanted.door.limiter)


@router.get(f"{STUDY}/thumbnail", responses=_RESPONSES, response_model=None)
@router.get(f"{SERIES}/thumbnail", responses=_RESPONSES, response_model=None)
@router.get(f"{INSTANCE}/thumbnail", responses=_RESPONSES, response_model=None)
async def thumbnail(wanted: Wanted) -> Response:
    """A small picture that stands for all."""
    options = {"viewport": _THUMBNAIL, **_options(wanted.request.query_params)}
    return await _one(wanted, _form(wanted.request).media_type, 1, options)


@router.get(f"{INSTANCE}/frames/{{frames}}/thumbnail", responses=_RESPONSES, response_model=None)
async def frame_thumbnail(wanted: Wanted, frames: str) -> Response:
    """A small picture of a frame, of the first one where several are named."""
    options = {"viewport": _THUMBNAIL, **_options(wanted.request.query_params)}
    return await _one(wanted, _form(wanted.request).media_type, frame_numbers(frames)[0], options)


async def _one(wanted: Target, media_type: str, frame: int, options: Mapping[str, Any]) -> Response:
    """A picture of the instance nearest to the middle that has one."""
    middle = len(wanted.instances) // 2
    nearest = sorted(range(len(wanted.instances)), key=lambda index: abs(index - middle))
    refusal: HTTPException | None = None
    for index in nearest[:_TRIES]:
        try:
            picture = await _picture(wanted, wanted.instances[index], media_type, frame, options)
        except HTTPException as error:
            refusal = error
            continue
        return Response(picture, media_type=media_type, headers={**HEADERS, **_warnings(wanted.request)})
    assert refusal is not None, "an address without instances is not found"
    raise refusal


async def _picture(wanted: Target, one: Located, media_type: str, frame: int, options: Mapping[str, Any]) -> bytes:
    return await wanted.run(wanted.retrieval.picture, one, frame=frame, media_type=media_type, **options)


async def _all(wanted: Target, media_type: str, options: Mapping[str, Any]) -> Parts:
    """The first frame of each instance that has one to show."""
    shown = False
    for one in wanted.instances:
        try:
            picture = await _picture(wanted, one, media_type, 1, options)
        except HTTPException:
            if not shown and one is wanted.instances[-1]:
                raise
            continue
        shown = True
        yield Part(media_type, f"{wanted.url(one)}/rendered", io.BytesIO(picture), len(picture))


async def _frames(wanted: Target, media_type: str, numbers: Sequence[int], options: Mapping[str, Any]) -> Parts:
    (one,) = wanted.instances
    for number in numbers:
        picture = await _picture(wanted, one, media_type, number, options)
        location = f"{wanted.url(one)}/frames/{number}/rendered"
        yield Part(media_type, location, io.BytesIO(picture), len(picture))


async def _document(wanted: Target) -> Response:
    """An encapsulated PDF is its own rendering."""
    if not any(found.covers(_PDF) for found in accepted(wanted.request)):
        raise not_acceptable([_PDF])

    async def parts() -> Parts:
        (one,) = wanted.instances
        with await wanted.run(wanted.retrieval.bulk, one, _PDF_ELEMENT) as file:
            yield Part(_PDF, f"{wanted.url(one)}/rendered", file)

    return await single(parts(), wanted.door.limiter)


def _form(request: Request) -> MediaRange:
    """The best picture that the client accepts."""
    for found in accepted(request):
        for media_type in _PICTURES:
            if found.covers(media_type):
                return MediaRange(media_type, found.multipart)
    raise not_acceptable(_PICTURES)


def _warnings(request: Request) -> dict[str, str]:
    """What was asked for and is not done (section 8.3.5.1)."""
    ignored = [name for name in _IGNORED if name in request.query_params]
    return warning_header(request, [f"The {name} parameter is not supported." for name in ignored])


def _options(parameters: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of section 8.3.5.1, checked."""
    options: dict[str, Any] = {}
    if "window" in parameters:
        center, width, function = _window(parameters["window"])
        options |= {"window": [center, width], "voi_function": function}
    if "viewport" in parameters:
        options["viewport"] = _viewport(parameters["viewport"])
    if "quality" in parameters:
        if not re.fullmatch(r"[1-9]\d?|100", parameters["quality"]):
            raise _malformed("quality", "a whole number from 1 to 100")
        options["quality"] = int(parameters["quality"])
    return options


def _window(text: str) -> tuple[float, float, str]:
    expected = "centre,width,function, with a function of linear, linear-exact and sigmoid"
    parts = text.split(",")
    function = _FUNCTIONS.get(parts[2].strip().lower()) if len(parts) == 3 else "LINEAR" if len(parts) == 2 else None
    try:
        center, width = float(parts[0]), float(parts[1])
    except (ValueError, IndexError):
        raise _malformed("window", expected) from None
    if (
        function is None
        or not math.isfinite(center)
        or not 0 < width < math.inf
        or (function == "LINEAR" and width < 1)
    ):
        raise _malformed("window", expected)
    return center, width, function


def _viewport(text: str) -> list[int | None]:
    """Width and height, then perhaps left, top, width and height of the region, each of which may be empty."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 6) or not all(re.fullmatch(r"(-?\d{1,5}(\.0*)?)?", part) for part in parts):
        raise _malformed("viewport", "width,height or width,height,left,top,width,height")
    numbers = [int(float(part)) if part else None for part in parts]
    across, down, left, top, width, height = (*numbers, *[None] * 4)[:6]
    sides = all(side is not None and 0 < side <= _MAX_SIDE for side in (across, down))
    if not sides or min(left or 0, top or 0) < 0 or 0 in (width, height):
        raise _malformed("viewport", f"sides from 1 to {_MAX_SIDE} and a region that is not empty")
    return numbers


def _malformed(name: str, expected: str) -> PlatformError:
    return PlatformError(ErrorCode.INVALID_INPUT, f"parameter {name}: expected {expected}")
