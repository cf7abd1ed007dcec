"""WADO-RS, rendered: pictures for people (PS3.18, section 10.4.1.1.3)."""

from functools import partial
from typing import Any

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.picture import first_row, size_of
from hulumed_platform.dicomweb_check.server import Answer
from hulumed_platform.dicomweb_check.service import ABSENT, Service
from hulumed_platform.dicomweb_check.suite import Suite
from hulumed_platform.dicomweb_check.synthetic import SIDE, Instance, gradient
from hulumed_platform.dicomweb_check.verdict import offered, require
from hulumed_platform.dicomweb_check.wado import stored

SUITE = Suite(Service.WADO)
_RENDERED = "PS3.18 10.4.1.1.3"
_PARAMETERS = "PS3.18 8.3.5"
_JPEG, _PNG = "image/jpeg", "image/png"
_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def _render(bench: Bench, instance: Instance, query: str = "", accept: str = _JPEG) -> Answer:
    """A rendering, where the server renders at all."""
    answer = bench.server.get(f"{instance.path}/rendered" + (f"?{query}" if query else ""), accept)
    offered(answer.status not in ABSENT, f"nothing is rendered: {answer.status}")
    return answer


def _picture(bench: Bench, instance: Instance, query: str = "", accept: str = _JPEG) -> bytes:
    answer = _render(bench, instance, query, accept)
    require(answer.status == 200 and answer.media_type == accept, f"{query or 'no parameter'}: {answer}")
    return answer.body


@SUITE.check("wado-rendered-jpeg", _RENDERED, sent="/rendered with Accept: image/jpeg", expected="a JPEG of 32 x 32")
def rendered_jpeg(bench: Bench) -> str:
    return _expect_size(_picture(bench, bench.seed.first[0]), (SIDE, SIDE))


@SUITE.check(
    "wado-rendered-default",
    "PS3.18 8.7.4",
    sent="/rendered of a single frame, with Accept: */*",
    expected="image/jpeg, the default",
)
def rendered_default(bench: Bench) -> str:
    answer = _render(bench, bench.seed.first[0], accept="*/*")
    require(answer.status == 200 and answer.media_type == _JPEG, f"{answer.status} {answer.media_type}")
    return answer.media_type


@SUITE.check(
    "wado-rendered-png", _RENDERED, sent="/rendered with Accept: image/png", expected="a PNG of 32 x 32, or 406"
)
def rendered_png(bench: Bench) -> str:
    answer = _render(bench, bench.seed.first[0], accept=_PNG)
    if answer.status == 406:
        return str(answer)
    require(answer.status == 200 and answer.media_type == _PNG, f"{answer.status} {answer.media_type}")
    return _expect_size(answer.body, (SIDE, SIDE))


@SUITE.check(
    "wado-rendered-frame", _RENDERED, sent="frames/2/rendered of an image of three", expected="a JPEG of 32 x 32"
)
def rendered_frame(bench: Bench) -> str:
    instance = stored(bench, NumberOfFrames="3", PixelData=gradient(3))
    answer = bench.server.get(f"{instance.path}/frames/2/rendered", _JPEG)
    offered(answer.status not in ABSENT, f"nothing is rendered: {answer.status}")
    require(answer.status == 200 and answer.media_type == _JPEG, answer.status)
    return _expect_size(answer.body, (SIDE, SIDE))


@SUITE.check(
    "wado-rendered-window",
    f"{_PARAMETERS}.1.4",
    sent="/rendered with window=-1000,50,linear and with window=3000,50,linear",
    expected="two different pictures",
)
def rendered_window(bench: Bench) -> str:
    low = _picture(bench, bench.seed.first[0], "window=-1000,50,linear")
    high = _picture(bench, bench.seed.first[0], "window=3000,50,linear")
    require(low != high, "the same picture twice: the window is ignored")
    return "two pictures"


@SUITE.check(
    "wado-rendered-viewport", f"{_PARAMETERS}.1.3", sent="/rendered?viewport=16,16", expected="a JPEG of 16 x 16"
)
def rendered_viewport(bench: Bench) -> str:
    return _expect_size(_picture(bench, bench.seed.first[0], "viewport=16,16"), (16, 16))


@SUITE.check(
    "wado-rendered-quality",
    f"{_PARAMETERS}.1.2",
    sent="/rendered with quality=5 and with quality=95, of noise",
    expected="the second is larger",
)
def rendered_quality(bench: Bench) -> str:
    noise = b"".join(((at * 2654435761 >> 7) % 4096).to_bytes(2, "little") for at in range(SIDE * SIDE))
    instance = stored(bench, PixelData=noise)
    sizes = [len(_picture(bench, instance, f"quality={quality}")) for quality in (5, 95)]
    require(sizes[0] < sizes[1], f"{sizes[0]} and {sizes[1]} bytes")
    return f"{sizes[0]} and {sizes[1]} bytes"


_WRONG = {
    "wado-rendered-window-wrong": "window=wide",
    "wado-rendered-window-width-zero": "window=40,0,linear",
    "wado-rendered-viewport-wrong": "viewport=0,0",
    "wado-rendered-quality-wrong": "quality=101",
}


def _expect_bad_request(query: str, bench: Bench) -> str:
    answer = _render(bench, bench.seed.first[0], query)
    require(answer.status == 400, f"{answer.status} {answer.media_type}")
    return str(answer)


for _name, _query in _WRONG.items():
    SUITE.check(_name, _PARAMETERS, sent=f"/rendered?{_query}", expected="400")(partial(_expect_bad_request, _query))


@SUITE.check(
    "wado-rendered-unacceptable", "PS3.18 8.7.5", sent="/rendered with Accept: application/x-nothing", expected="406"
)
def rendered_unacceptable(bench: Bench) -> str:
    answer = _render(bench, bench.seed.first[0], accept="application/x-nothing")
    require(answer.status == 406, f"{answer.status} {answer.media_type}")
    return str(answer)


@SUITE.check(
    "wado-rendered-monochrome1",
    "PS3.3 C.7.6.3.1.2",
    sent="/rendered as PNG of a gradient in MONOCHROME1 and MONOCHROME2",
    expected="the one bright on the left, the other bright on the right",
)
def rendered_monochrome1(bench: Bench) -> str:
    rows = {}
    for interpretation in ("MONOCHROME2", "MONOCHROME1"):
        answer = _render(bench, stored(bench, PhotometricInterpretation=interpretation), accept=_PNG)
        offered(answer.status != 406, "nothing is rendered as PNG")
        require(answer.status == 200, f"{interpretation}: {answer}")
        rows[interpretation] = first_row(answer.body)
    require(_rises(rows["MONOCHROME2"]), f"MONOCHROME2: {rows['MONOCHROME2'][:4]} … {rows['MONOCHROME2'][-4:]}")
    require(not _rises(rows["MONOCHROME1"]), f"MONOCHROME1: {rows['MONOCHROME1'][:4]} … {rows['MONOCHROME1'][-4:]}")
    return "both are right"


_KINDS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "wado-rendered-rgb": (
        "a colour image of 8 bits",
        {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelData": bytes(SIDE * SIDE * 3)},
        (_JPEG,),
    ),
    "wado-rendered-rgb48": (
        "a colour image of 16 bits",
        {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelData": bytes(SIDE * SIDE * 6)},
        (_JPEG,),
    ),
}
_COLOUR = {"SOPClassUID": _SECONDARY_CAPTURE, "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB",
           "PlanarConfiguration": 0, "ImageType": ["DERIVED", "SECONDARY"], "Modality": "OT",
           "RescaleSlope": None, "RescaleIntercept": None, "RescaleType": None}  # fmt: skip


def _expect_rendered(attributes: dict[str, Any], types: tuple[str, ...], bench: Bench) -> str:
    """A picture, or a clear no: a request that is in order is never an error of the server."""
    answer = _render(bench, stored(bench, **attributes), accept=types[0])
    require(answer.status in (200, 406, 415), answer)
    require(answer.status != 200 or answer.media_type in types, f"200 {answer.media_type}")
    return f"{answer.status} {answer.media_type}"


for _name, (_what, _attributes, _types) in _KINDS.items():
    SUITE.check(_name, _RENDERED, sent=f"/rendered of {_what}", expected="a picture, or 406")(
        partial(_expect_rendered, {**_COLOUR, **_attributes}, _types)
    )


@SUITE.check(
    "wado-rendered-pdf",
    "PS3.18 8.7.4",
    sent="/rendered of an encapsulated PDF, with Accept: application/pdf",
    expected="the PDF, or 406",
)
def rendered_pdf(bench: Bench) -> str:
    pixels = ("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored",
              "HighBit", "PixelRepresentation", "PixelData", "RescaleSlope", "RescaleIntercept")  # fmt: skip
    document = b"%PDF-1.4\n%%EOF\n\0"
    instance = stored(
        bench, **dict.fromkeys(pixels), SOPClassUID=_PDF, Modality="DOC", EncapsulatedDocument=document,
        MIMETypeOfEncapsulatedDocument="application/pdf", BurnedInAnnotation="NO", DocumentTitle="check",
    )  # fmt: skip
    answer = _render(bench, instance, accept="application/pdf")
    require(answer.status in (200, 406), answer)
    require(answer.status == 406 or answer.body.startswith(b"%PDF-"), answer)
    return f"{answer.status} {answer.media_type}"


def _rises(row: list[int]) -> bool:
    half = len(row) // 2
    return sum(row[:half]) < sum(row[half:])


def _expect_size(picture: bytes, expected: tuple[int, int]) -> str:
    found = size_of(picture)
    require(found == expected, f"{found[0]} x {found[1]}")
    return f"{found[0]} x {found[1]}"
