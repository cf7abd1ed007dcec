"""WADO-RS, instances: levels, transfer syntaxes, media types, metadata, bulk data, frames (PS3.18, section 10.4)."""

from functools import partial
from typing import Any

from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.multipart import read_parts
from hulumed_platform.dicomweb_check.reply import value
from hulumed_platform.dicomweb_check.server import DICOM_JSON, Answer
from hulumed_platform.dicomweb_check.service import Service
from hulumed_platform.dicomweb_check.suite import Suite
from hulumed_platform.dicomweb_check.synthetic import Instance, gradient, new_uid, read, without_meta
from hulumed_platform.dicomweb_check.verdict import advise, offered, require

SUITE = Suite(Service.WADO)
DICOM = 'multipart/related; type="application/dicom"'
ANY_DICOM = f"{DICOM}; transfer-syntax=*"
OCTETS = 'multipart/related; type="application/octet-stream"'
_SYNTAXES = "PS3.18 8.7.3"
_FRAMES = 3
_MPEG4 = UID("1.2.840.10008.1.2.4.102")
_VIDEO = "1.2.840.10008.5.1.4.1.1.77.1.4.1"


def stored(bench: Bench, **options: Any) -> Instance:
    """An instance that the server took; a check of retrieval is about nothing where it did not."""
    instance = bench.make(**options)
    answer = bench.post(instance)
    offered(answer.ok, f"the instance for this check is not taken: {answer}")
    return instance


def retrieved(bench: Bench, path: str, accept: str) -> list[bytes]:
    """The files under a path."""
    answer = bench.server.get(path, accept)
    require(answer.status == 200, answer)
    parts = read_parts(answer)
    wrong = [part.content_type for part in parts if not part.content_type.lower().startswith("application/dicom")]
    require(not wrong, f"parts of type {wrong}")
    return [part.content for part in parts]


_LEVELS = {
    "wado-study": ("/studies/{0.study}", 3),
    "wado-series": ("/studies/{0.study}/series/{0.series}", 2),
    "wado-instance": ("{0.path}", 1),
}


def _expect_level(path: str, expected: int, bench: Bench) -> str:
    files = retrieved(bench, path.format(bench.seed.first[0]), DICOM)
    found = len({str(read(file).SOPInstanceUID) for file in files})
    require(found == len(files) == expected, f"{len(files)} parts with {found} different instances")
    return f"{found} instances"


for _name, (_path, _expected) in _LEVELS.items():
    _sent = f"GET {_path.replace('0.', '')} with Accept: {DICOM}"
    SUITE.check(_name, "PS3.18 10.4.1.1", sent=_sent, expected=f"200 with {_expected} instances")(
        partial(_expect_level, _path, _expected)
    )


@SUITE.check(
    "wado-default-transfer-syntax",
    _SYNTAXES,
    sent="a request that names no transfer syntax, for an instance stored in RLE Lossless",
    expected="Explicit VR Little Endian",
)
def default_transfer_syntax(bench: Bench) -> str:
    instance = stored(bench, syntax=RLELossless)
    (file,) = retrieved(bench, instance.path, DICOM)
    return _expect_syntax(file, ExplicitVRLittleEndian)


@SUITE.check(
    "wado-any-transfer-syntax",
    _SYNTAXES,
    sent="a request with transfer-syntax=*, for an instance stored in RLE Lossless",
    expected="the data set as it was stored, byte for byte",
)
def any_transfer_syntax(bench: Bench) -> str:
    return _expect_verbatim(bench, stored(bench, syntax=RLELossless))


@SUITE.check(
    "wado-named-transfer-syntax",
    _SYNTAXES,
    sent="a request that names the transfer syntax in which the instance is stored, RLE Lossless",
    expected="the data set as it was stored, byte for byte",
)
def named_transfer_syntax(bench: Bench) -> str:
    instance = stored(bench, syntax=RLELossless)
    return _expect_verbatim(bench, instance, f"{DICOM}; transfer-syntax={RLELossless}")


@SUITE.check(
    "wado-video-verbatim",
    _SYNTAXES,
    sent="a request with transfer-syntax=*, for a video",
    expected="the data set as it was stored, byte for byte",
)
def video_verbatim(bench: Bench) -> str:
    from pydicom.encaps import encapsulate  # noqa: PLC0415

    stream = encapsulate([bytes(range(256)) * 4])
    return _expect_verbatim(
        bench,
        stored(
            bench, syntax=_MPEG4, SOPClassUID=_VIDEO, Modality="XC", NumberOfFrames="25", SamplesPerPixel=3,
            PhotometricInterpretation="YBR_PARTIAL_420", PlanarConfiguration=0, BitsAllocated=8, BitsStored=8,
            HighBit=7, PixelData=stream,
        ),
    )  # fmt: skip


def _never_on_the_wire(syntax: UID, bench: Bench) -> str:
    instance = stored(bench, syntax=syntax)
    (file,) = retrieved(bench, instance.path, ANY_DICOM)
    told = str(read(file).file_meta.TransferSyntaxUID)
    require(told not in (ImplicitVRLittleEndian, ExplicitVRBigEndian), f"it comes in {UID(told).name}")
    pixels = read(file).get("PixelData")
    require(told != ExplicitVRLittleEndian or pixels == gradient(), f"{UID(told).name}, with other pixels")
    return UID(told).name


for _name, _syntax in {
    "wado-implicit-never": ImplicitVRLittleEndian,
    "wado-big-endian-never": ExplicitVRBigEndian,
}.items():
    SUITE.check(
        _name,
        _SYNTAXES,
        sent=f"a request with transfer-syntax=*, for an instance stored in {_syntax.name}",
        expected="another transfer syntax: this one shall not be used with web services",
    )(partial(_never_on_the_wire, _syntax))


_ACCEPTED = {
    "wado-accept-list": f'multipart/related; type="image/jpeg"; q=0.9, {ANY_DICOM};q=0.5, text/html;q=0.1',
    "wado-accept-unquoted": "multipart/related;type=application/dicom;transfer-syntax=*",
    "wado-accept-parameter-order": 'multipart/related; transfer-syntax=*; type="application/dicom"',
    "wado-accept-any": "*/*",
}


def _expect_accepted(accept: str, bench: Bench) -> str:
    (file,) = retrieved(bench, bench.seed.first[0].path, accept)
    require(str(read(file).SOPInstanceUID) == bench.seed.first[0].sop, "another instance")
    return "200"


for _name, _accept in _ACCEPTED.items():
    SUITE.check(_name, "PS3.18 8.7.5", sent=f"a request with Accept: {_accept}", expected="200 with the instance")(
        partial(_expect_accepted, _accept)
    )


_UNACCEPTABLE = {
    "wado-unacceptable": "application/x-nothing",
    "wado-unacceptable-inner-type": 'multipart/related; type="application/x-nothing"',
    "wado-unknown-transfer-syntax": f"{DICOM}; transfer-syntax=2.25.1",
}


def _expect_unacceptable(accept: str, bench: Bench) -> str:
    answer = bench.server.get(bench.seed.first[0].path, accept)
    require(answer.status == 406, answer)
    return str(answer)


for _name, _accept in _UNACCEPTABLE.items():
    SUITE.check(_name, "PS3.18 10.4.3.1", sent=f"a request with Accept: {_accept}", expected="406")(
        partial(_expect_unacceptable, _accept)
    )


_ABSENT = {
    "wado-no-such-study": "/studies/{new}",
    "wado-no-such-instance": "/studies/{0.study}/series/{0.series}/instances/{new}",
    "wado-wrong-series": "/studies/{0.study}/series/{new}/instances/{0.sop}",
    "wado-no-such-metadata": "/studies/{new}/metadata",
}


def _expect_not_found(path: str, bench: Bench) -> str:
    metadata = path.endswith("metadata")
    address = path.format(bench.seed.first[0], new=new_uid())
    answer = bench.server.get(address, DICOM_JSON if metadata else ANY_DICOM)
    require(answer.status == 404, answer)
    return str(answer)


for _name, _path in _ABSENT.items():
    SUITE.check(_name, "PS3.18 10.4.3.1", sent=f"GET {_path.replace('0.', '')}, of a new UID", expected="404")(
        partial(_expect_not_found, _path)
    )


_METADATA = {
    "wado-metadata-study": ("/studies/{0.study}/metadata", 3),
    "wado-metadata-series": ("/studies/{0.study}/series/{0.series}/metadata", 2),
    "wado-metadata-instance": ("{0.path}/metadata", 1),
}


def _expect_metadata(path: str, expected: int, bench: Bench) -> str:
    answer = bench.server.get(path.format(bench.seed.first[0]))
    require(answer.status == 200 and answer.media_type == DICOM_JSON, answer)
    found = answer.json()
    require(isinstance(found, list) and len(found) == expected, f"{answer}; no array of {expected}")
    return f"an array of {expected}"


for _name, (_path, _expected) in _METADATA.items():
    SUITE.check(
        _name,
        "PS3.18 10.4.1.1.2",
        sent=f"GET {_path.replace('0.', '')}",
        expected=f"200, {DICOM_JSON}, one array of {_expected}",
    )(partial(_expect_metadata, _path, _expected))


@SUITE.check(
    "wado-metadata-utf8",
    "PS3.18 F.2",
    sent="the metadata of an instance whose patient name is in ISO-IR 100",
    expected="the name in UTF-8, and Specific Character Set absent or ISO_IR 192",
)
def metadata_utf8(bench: Bench) -> str:
    instance = stored(bench, SpecificCharacterSet="ISO_IR 100", PatientName="Prüfung^Gerät")
    (metadata,) = _metadata(bench, instance)
    name = value(metadata, "00100010")
    require(isinstance(name, dict) and name.get("Alphabetic") == "Prüfung^Gerät", f"the name is {name}")
    character_set = value(metadata, "00080005")
    advise(character_set in ("", "ISO_IR 192"), f"Specific Character Set says {character_set!r} in a text of UTF-8")
    return "the name is right"


@SUITE.check(
    "wado-bulkdata",
    "PS3.18 10.4.1.1.5",
    sent="metadata, and GET of the BulkDataURI of their pixel data",
    expected="the pixels; never inline in metadata",
)
def bulkdata(bench: Bench) -> str:
    instance = bench.seed.first[0]
    (metadata,) = _metadata(bench, instance)
    element = metadata.get("7FE00010", {})
    require("InlineBinary" not in element and "Value" not in element, "the pixel data are in the metadata")
    url = element.get("BulkDataURI")
    offered(bool(url), "pixel data have no BulkDataURI, which is allowed: frames have an address of their own")
    answer = bench.server.follow(str(url), f"{instance.path}/metadata", accept=f"{OCTETS}, */*;q=0.1")
    advise(answer is not None, f"{url}: not the host that was asked; set the public address of the server")
    assert answer is not None
    require(answer.status == 200, f"{url}: {answer}")
    require(_octets(answer) == gradient(), f"{url}: other bytes than the pixels")
    return f"{url}: 200"


def _multiframe(bench: Bench) -> Instance:
    return stored(bench, NumberOfFrames=str(_FRAMES), PixelData=gradient(_FRAMES))


@SUITE.check(
    "wado-frames",
    "PS3.18 10.4.1.1.6",
    sent="frames/1 and frames/3,1 of an image of three",
    expected="those frames, in that order, byte for byte",
)
def frames(bench: Bench) -> str:
    instance = _multiframe(bench)
    pixels = gradient(_FRAMES)
    size = len(pixels) // _FRAMES
    every = [pixels[start : start + size] for start in range(0, len(pixels), size)]
    for numbers in ([1], [3, 1]):
        address = f"{instance.path}/frames/{','.join(map(str, numbers))}"
        answer = bench.server.get(address, OCTETS)
        require(answer.status == 200, f"{address}: {answer}")
        found = [part.content for part in read_parts(answer)]
        require(
            found == [every[number - 1] for number in numbers], f"frames {numbers}: {len(found)} parts, other bytes"
        )
    return "the frames are right"


_WRONG_FRAMES = {
    "wado-frame-beyond": ("4", (404,)),
    "wado-frame-zero": ("0", (400, 404)),
    "wado-frame-no-number": ("first", (400, 404)),
}


def _expect_wrong_frame(number: str, statuses: tuple[int, ...], bench: Bench) -> str:
    answer = bench.server.get(f"{_multiframe(bench).path}/frames/{number}", OCTETS)
    require(answer.status in statuses, answer)
    return str(answer)


for _name, (_number, _statuses) in _WRONG_FRAMES.items():
    SUITE.check(
        _name,
        "PS3.18 10.4.3.1",
        sent=f"frames/{_number} of an image of three",
        expected=" or ".join(map(str, _statuses)),
    )(partial(_expect_wrong_frame, _number, _statuses))


def _metadata(bench: Bench, instance: Instance) -> list[dict[str, Any]]:
    answer = bench.server.get(f"{instance.path}/metadata")
    require(answer.status == 200, answer)
    return list(answer.json())


def _octets(answer: Answer) -> bytes:
    """Bulk data come as one part, or bare."""
    return read_parts(answer)[0].content if answer.media_type == "multipart/related" else answer.body


def _expect_syntax(file: bytes, syntax: UID) -> str:
    told = UID(str(read(file).file_meta.TransferSyntaxUID))
    require(told == syntax, f"it comes in {told.name}")
    require(read(file).PixelData == gradient(), f"{told.name}, with other pixels")
    return told.name


def _expect_verbatim(bench: Bench, instance: Instance, accept: str = ANY_DICOM) -> str:
    (file,) = retrieved(bench, instance.path, accept)
    require(without_meta(file) == without_meta(instance.file), "the data set is another than the one stored")
    return "the file is the same" if file == instance.file else "the data set is the same, its file meta is not"
