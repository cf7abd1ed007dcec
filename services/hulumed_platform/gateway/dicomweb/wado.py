"""WADO-RS (PS3.18, section 10.4): instances, their metadata, bulk data and frames."""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ParamSpec, TypeVar

from anyio import to_thread
from fastapi import APIRouter, Depends, HTTPException, Request, Response

from hulumed_platform.archive.retrieve import Frames, Located, Retrieval, locate
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway.dependencies import Door, door
from hulumed_platform.gateway.dicomweb.accept import DICOM_JSON, accepted, not_acceptable, require_json
from hulumed_platform.gateway.dicomweb.answers import gzipped, reads_gzip, root, warning_header
from hulumed_platform.gateway.dicomweb.related import Part, Parts, Streamed, related, single
from hulumed_platform.gateway.dicomweb.representation import DICOM, OCTETS, Form, instance_form, pixel_form
from hulumed_platform.storage.records import check_uid

router = APIRouter(prefix="/dicom-web", tags=["DICOMweb"])

STUDY = "/studies/{study}"
SERIES = f"{STUDY}/series/{{series}}"
INSTANCE = f"{SERIES}/instances/{{instance}}"

_PIXELS = ("7FE00008", "7FE00009", "7FE00010")
_ELEMENT = re.compile(r"[0-9A-F]{8}(/\d{1,5}/[0-9A-F]{8}){0,16}")
_FRAMES = re.compile(r"[0-9]{1,6}(,[0-9]{1,6}){0,9999}")
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "Everything that was asked for."},
    206: {"description": "Some instances are left out: they cannot be had as the Accept header asks."},
    400: {"description": "The address or the Accept header is malformed."},
    404: {"description": "No such study, series, instance, frame or element."},
    406: {"description": "It cannot be had as the Accept header asks."},
}

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """The instances that an address names, and what a route needs to give them out."""

    request: Request
    door: Door
    instances: Sequence[Located]

    @property
    def retrieval(self) -> Retrieval:
        """What gets them."""
        door = self.door
        return Retrieval(door.objects, door.database, door.renderers, door.settings.tenant, door.settings.scratch_dir)

    def url(self, one: Located) -> str:
        """The address of an instance as the client sees it."""
        return (
            f"{root(self.request)}/studies/{one.study_instance_uid}/series/{one.series_instance_uid}"
            f"/instances/{one.sop_instance_uid}"
        )

    async def run(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call what blocks; what cannot be decoded is not acceptable as asked for, and says so."""

        def call() -> T:
            with undecodable_as_406():
                return function(*arguments, **options)

        return await to_thread.run_sync(call, limiter=self.door.render_limiter)


@contextmanager
def undecodable_as_406() -> Iterator[None]:
    """UNSUPPORTED of a file that is stored is no fault of the request's body: 406, not 415."""
    try:
        yield
    except PlatformError as error:
        if error.code is not ErrorCode.UNSUPPORTED:
            raise
        raise HTTPException(406, f"{error.message}; it can be had as it is stored, with transfer-syntax=*") from None


async def target(
    request: Request,
    door: Annotated[Door, Depends(door)],
    study: str,
    series: str | None = None,
    instance: str | None = None,
) -> Target:
    """Find what the address names, for FastAPI's `Depends`.

    Raises:
        PlatformError: INVALID_INPUT for what is no UID, NOT_FOUND where there is nothing.
    """
    for uid, name in ((study, "Study"), (series, "Series"), (instance, "SOP")):
        if uid is not None:
            check_uid(uid, f"{name} Instance UID in the address")

    def find() -> list[Located]:
        with door.database.reading() as session:
            return locate(session, door.settings.tenant, study, series, instance)

    return Target(request, door, await to_thread.run_sync(find, limiter=door.limiter))


Wanted = Annotated[Target, Depends(target)]


@router.get(STUDY, responses=_RESPONSES, response_model=None)
@router.get(SERIES, responses=_RESPONSES, response_model=None)
@router.get(INSTANCE, responses=_RESPONSES, response_model=None)
async def retrieve_instances(wanted: Wanted) -> Response:
    """All instances of a study or series, or one, as `multipart/related; type="application/dicom"`."""
    ranges = accepted(wanted.request)
    forms = [(one, instance_form(ranges, one.transfer_syntax_uid)) for one in wanted.instances]
    sent = [(one, form) for one, form in forms if form is not None]
    if not sent:
        raise not_acceptable([f'multipart/related; type="{DICOM}"; transfer-syntax=*'])
    parts = _instance_parts(wanted, sent)
    if not sent[0][1].multipart:
        if len(forms) > 1:
            raise not_acceptable([f'multipart/related; type="{DICOM}"'])
        return await single(parts, wanted.door.limiter)
    left_out = len(forms) - len(sent)
    text = f"{left_out} instances are left out, as their transfer syntax is not acceptable"
    headers = warning_header(wanted.request, [text] if left_out else [])
    return await related(parts, DICOM, wanted.door.limiter, status=206 if left_out else 200, headers=headers)


async def _instance_parts(wanted: Target, sent: Sequence[tuple[Located, Form]]) -> Parts:
    retrieval = wanted.retrieval
    for one, form in sent:
        if form.decode:
            file = await wanted.run(retrieval.transcoded, one)
        else:
            file = await to_thread.run_sync(retrieval.stored, one, limiter=wanted.door.limiter)
        with file:
            yield Part(form.content_type, wanted.url(one), file, None if form.decode else one.size_bytes)


@router.get(f"{STUDY}/metadata", responses=_RESPONSES, response_model=None)
@router.get(f"{SERIES}/metadata", responses=_RESPONSES, response_model=None)
@router.get(f"{INSTANCE}/metadata", responses=_RESPONSES, response_model=None)
async def retrieve_metadata(wanted: Wanted) -> Response:
    """Everything but bulk data, as one array in the DICOM JSON model."""
    require_json(wanted.request)
    pieces = _metadata(wanted)
    first = await anext(pieces)
    body, headers = _chained(first, pieces), {"Content-Type": DICOM_JSON, "Vary": "Accept-Encoding"}
    if reads_gzip(wanted.request):
        body, headers["Content-Encoding"] = gzipped(body), "gzip"
    return Streamed(body, 200, headers)


async def _metadata(wanted: Target) -> AsyncGenerator[bytes, None]:
    """The array in pieces of many instances; relative addresses become those that the client sees."""
    urls = {one.sop_instance_uid: json.dumps(wanted.url(one))[1:-1].encode() for one in wanted.instances}
    start = b"["
    steps = wanted.retrieval.metadata(wanted.instances)
    while (step := await wanted.run(next, steps, None)) is not None:
        some = [content.replace(_RELATIVE, b'"BulkDataURI":"%s/' % urls[uid]) for uid, content in step]
        if some:
            yield start + b",".join(some)
            start = b","
    yield b"[]" if start == b"[" else b"]"


_RELATIVE = b'"BulkDataURI":"'
"""Cannot stand inside a string of JSON, where a quotation mark has a backslash before it."""


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield first
    async for piece in rest:
        yield piece


@router.get(f"{INSTANCE}/frames/{{frames}}", responses=_RESPONSES, response_model=None)
async def retrieve_frames(wanted: Wanted, frames: str) -> Response:
    """Frames by their numbers from 1, with commas between them."""
    return await _pixels(wanted, frame_numbers(frames))


@router.get(f"{INSTANCE}/bulkdata/{{element:path}}", responses=_RESPONSES, response_model=None)
async def retrieve_bulkdata(wanted: Wanted, element: str) -> Response:
    """The value of an element that metadata point to."""
    if not _ELEMENT.fullmatch(element.upper()):
        raise PlatformError(ErrorCode.NOT_FOUND, "no such bulk data; take the address from the metadata")
    if element.upper() in _PIXELS:
        return await _pixels(wanted, None)
    form = next((found for found in accepted(wanted.request) if found.covers(OCTETS)), None)
    if form is None:
        raise not_acceptable([OCTETS])
    parts = _bulk_parts(wanted, element.upper())
    if form.multipart or form.media_type == "*/*":
        return await related(parts, OCTETS, wanted.door.limiter)
    return await single(parts, wanted.door.limiter)


async def _bulk_parts(wanted: Target, element: str) -> Parts:
    (one,) = wanted.instances
    with await wanted.run(wanted.retrieval.bulk, one, element) as file:
        yield Part(OCTETS, f"{wanted.url(one)}/bulkdata/{element}", file)


async def _pixels(wanted: Target, numbers: Sequence[int] | None) -> Response:
    """Frames, one a part; of all of them (None) that are not compressed one part, as they stand in the pixel data."""
    (one,) = wanted.instances
    form = pixel_form(accepted(wanted.request), one.transfer_syntax_uid)
    if form is None:
        raise not_acceptable([f'multipart/related; type="{OCTETS}"'])
    frames = await wanted.run(wanted.retrieval.frames, one, numbers, decode=form.decode)
    if numbers is None and form.media_type == OCTETS:
        frames, numbers = Frames(frames.file, (sum(frames.lengths),)), None
    parts = _frame_parts(wanted, form, frames, numbers)
    if form.multipart:
        return await related(parts, form.media_type, wanted.door.limiter)
    if len(frames.lengths) > 1:
        frames.file.close()
        raise not_acceptable([f'multipart/related; type="{form.media_type}"'])
    return await single(parts, wanted.door.limiter)


async def _frame_parts(wanted: Target, form: Form, frames: Frames, numbers: Sequence[int] | None) -> Parts:
    (one,) = wanted.instances
    with frames.file as file:
        for index, length in enumerate(frames.lengths):
            place = f"frames/{numbers[index]}" if numbers else "bulkdata/7FE00010"
            yield Part(form.content_type, f"{wanted.url(one)}/{place}", file, length)


def frame_numbers(text: str) -> list[int]:
    """The list of frames in an address. Raises INVALID_INPUT: they are numbers from 1, with commas between them."""
    numbers = [int(number) for number in text.split(",")] if _FRAMES.fullmatch(text) else [0]
    if 0 in numbers:
        raise PlatformError(
            ErrorCode.INVALID_INPUT, "the frames in the address are to be numbers from 1, with commas between them"
        )
    return numbers
