"""STOW-RS, the ways in which a well-formed request may be written, and a few in which it is not."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.multipart import BOUNDARY, CONTENT_TYPE, PART_HEADER, related
from hulumed_platform.dicomweb_check.reply import expect_refused, expect_stored
from hulumed_platform.dicomweb_check.service import Service
from hulumed_platform.dicomweb_check.suite import Suite
from hulumed_platform.dicomweb_check.verdict import require

SUITE = Suite(Service.STOW)
_MULTIPART = "RFC 2046 5.1"
_PARAMETERS = "RFC 9110 5.6.6"
_PART = "PS3.18 8.7.3"
_STORED = "200, and the instance can be retrieved"
_ALL_CHARACTERS = "0'()+_,-./:=? z"
"""All kinds of characters that RFC 2046 allows in a boundary; a space may not be the last."""
_RLE = "1.2.840.10008.1.2.5"


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to write a request with a good instance in it; `{}` in the content type stands for the boundary."""

    name: str
    sent: str
    section: str = _MULTIPART
    content_type: str = 'multipart/related; type="application/dicom"; boundary={}'
    boundary: str = BOUNDARY
    part_header: str = PART_HEADER
    preamble: bytes = b""
    epilogue: bytes = b""


_VARIANTS = (
    Variant("stow-boundary-unquoted", "the boundary without quotes"),
    Variant("stow-boundary-quoted", "the boundary in quotes", content_type=CONTENT_TYPE.replace(BOUNDARY, '"{}"')),
    Variant(
        "stow-boundary-characters",
        f"a boundary in quotes with every kind of character of RFC 2046: {_ALL_CHARACTERS}",
        content_type='multipart/related; type="application/dicom"; boundary="{}"',
        boundary=_ALL_CHARACTERS,
    ),
    Variant("stow-boundary-longest", "a boundary of 70 characters", boundary="b" * 70),
    Variant(
        "stow-type-unquoted",
        "type=application/dicom without quotes, as many clients have it",
        _PARAMETERS,
        content_type="multipart/related; type=application/dicom; boundary={}",
    ),
    Variant(
        "stow-parameter-order",
        "the boundary before the type",
        _PARAMETERS,
        content_type='multipart/related; boundary={}; type="application/dicom"',
    ),
    Variant(
        "stow-parameter-case",
        "names and types in capitals",
        _PARAMETERS,
        content_type='Multipart/Related; TYPE="Application/DICOM"; Boundary={}',
    ),
    Variant(
        "stow-parameter-no-space",
        "no space after the semicolons",
        _PARAMETERS,
        content_type='multipart/related;type="application/dicom";boundary={}',
    ),
    Variant(
        "stow-parameter-unknown",
        "a start parameter (RFC 2387) and one that nobody knows",
        _PARAMETERS,
        content_type='multipart/related; type="application/dicom"; start="<1>"; boundary={}; x-check=1',
    ),
    Variant("stow-preamble", "text before the first boundary", preamble=b"This is a multipart message.\r\n"),
    Variant("stow-epilogue", "text behind the last boundary", epilogue=b"\r\nThat was all."),
    Variant(
        "stow-part-headers",
        "a part with Content-ID, Content-Location, MIME-Version and a header that nobody knows",
        part_header=f"MIME-Version: 1.0\r\nContent-ID: <1>\r\n{PART_HEADER}\r\nContent-Location: /x\r\nX-Check: 1",
    ),
    Variant("stow-part-header-case", "content-type:application/dicom", part_header="content-type:application/dicom"),
    Variant("stow-part-without-type", "a part without headers: the type of the request holds", part_header=""),
    Variant(
        "stow-part-transfer-syntax",
        "a part whose Content-Type has the transfer-syntax parameter, as dcm4che sends it",
        _PART,
        part_header=f"{PART_HEADER};transfer-syntax=1.2.840.10008.1.2.1",
    ),
    Variant(
        "stow-part-transfer-syntax-wrong",
        "a part whose transfer-syntax parameter is not that of its file meta, which wins",
        _PART,
        part_header=f"{PART_HEADER}; transfer-syntax={_RLE}",
    ),
)


def _store_variant(variant: Variant, bench: Bench) -> str:
    instance = bench.make()
    body = variant.preamble + related([instance.file], boundary=variant.boundary, header=variant.part_header)
    headers = {"Content-Type": variant.content_type.format(variant.boundary)}
    return expect_stored(bench, bench.post_body(body + variant.epilogue, headers=headers), instance)


for _variant in _VARIANTS:
    SUITE.check(_variant.name, _variant.section, sent=_variant.sent, expected=_STORED)(
        partial(_store_variant, _variant)
    )


@SUITE.check("stow-boundary-in-pixels", _MULTIPART, sent="pixels with the boundary in them", expected=_STORED)
def boundary_in_pixels(bench: Bench) -> str:
    delimiter = f"--{BOUNDARY}".encode()
    # None of these is a delimiter: that begins with a line break and is whole.
    traps = delimiter + b"\0" + delimiter + b"--" + b"\r\n" + delimiter[:-1] + b"\0\r\n-" + delimiter[3:]
    instance = bench.make(PixelData=traps.ljust(2048, b"\0"))
    return expect_stored(bench, bench.post(instance), instance)


@SUITE.check("stow-chunked", "RFC 9112 7.1", sent="a chunked body without Content-Length", expected=_STORED)
def chunked(bench: Bench) -> str:
    instance = bench.make()
    return expect_stored(bench, bench.post_body(_pieces(related([instance.file]), 700)), instance)


@SUITE.check("stow-chunked-small", "RFC 9112 7.1", sent="a body in chunks of 7 bytes", expected=_STORED)
def chunked_small(bench: Bench) -> str:
    instance = bench.make()
    return expect_stored(bench, bench.post_body(_pieces(related([instance.file]), 7)), instance)


@SUITE.check(
    "stow-gzip",
    "RFC 9110 8.4",
    sent="a body with Content-Encoding: gzip",
    expected="200 and stored, or 415; never accepted and lost",
)
def gzipped(bench: Bench) -> str:
    instance = bench.make()
    answer = bench.post_body(gzip.compress(related([instance.file])), headers={"Content-Encoding": "gzip"})
    if answer.status == 415:
        return str(answer)
    return expect_stored(bench, answer, instance)


@SUITE.check(
    "stow-many-parts", "PS3.18 10.5.1", sent="120 instances of one study in one request", expected="200, all stored"
)
def many_parts(bench: Bench) -> str:
    first = bench.make()
    instances = [first, *(bench.make(study=first.study, series=first.series) for _ in range(119))]
    answer = bench.post(*instances)
    expect_stored(bench, answer, instances[0], instances[-1])
    listed = [f'"{instance.sop}"'.encode() in answer.body for instance in instances]
    require(all(listed), f"{answer.status}; {sum(listed)} of 120 are in the answer")
    return f"{answer.status}; 120 of 120 are in the answer"


@SUITE.check(
    "stow-no-last-boundary",
    _MULTIPART,
    sent="a body whose last boundary is missing, as when it was cut off",
    expected="400",
)
def no_last_boundary(bench: Bench) -> str:
    body = related([bench.make().file])
    answer = bench.post_body(body[: body.rindex(b"\r\n--")])
    return expect_refused(bench, answer, statuses=(400,))


def _pieces(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))
