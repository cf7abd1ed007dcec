"""WADO-RS: what was stored comes back, in a form that the client reads. Rules: PS3.18, sections 8.7 and 10.4."""

import io
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.gateway.conftest import RunningGateway
from tests.gateway.dicom import CONTENT_TYPE, multipart
from tests.gateway.dicomweb.conftest import store
from tests.gateway.dicomweb.corpus import NAMES, Sample, made
from tests.gateway.dicomweb.related import parts

DICOM = 'multipart/related; type="application/dicom"'
ANY_SYNTAX = f"{DICOM}; transfer-syntax=*"
OCTETS = 'multipart/related; type="application/octet-stream"'
NEVER_SENT = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2")


def get(gateway: RunningGateway, path: str, accept: str = "*/*", **headers: str) -> httpx.Response:
    return gateway.http.get(f"/dicom-web{path}", headers={"Accept": accept, **headers})


def files(answer: httpx.Response) -> list[bytes]:
    assert answer.status_code == 200, answer.text
    return [content for _, content in parts(answer)]


@pytest.fixture
def client(gateway: RunningGateway) -> DICOMwebClient:
    return DICOMwebClient(f"{gateway.url}/dicom-web")


@pytest.fixture(scope="module")
def study(gateway: RunningGateway) -> list[Sample]:
    """Two series, of three instances and of one."""
    uid, first, second = (generate_uid() for _ in range(3))
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    samples = [
        made(pixels + number, StudyInstanceUID=uid, SeriesInstanceUID=first, InstanceNumber=number)
        for number in (3, 1, 2)
    ]
    samples.append(made(pixels, StudyInstanceUID=uid, SeriesInstanceUID=second))
    store(gateway, *samples)
    return samples


@pytest.mark.parametrize("name", NAMES)
def test_any_transfer_syntax_is_byte_for_byte(gateway: RunningGateway, corpus: dict[str, Sample], name: str) -> None:
    """`transfer-syntax=*` changes nothing, but for the two syntaxes that the standard keeps off the web."""
    one = corpus[name]
    ((headers, content),) = parts(get(gateway, one.path, ANY_SYNTAX))
    if one.syntax in NEVER_SENT:
        assert pydicom.dcmread(io.BytesIO(content)).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    else:
        assert content == one.content
        assert headers.get_param("transfer-syntax") == one.syntax


@pytest.mark.parametrize("name", NAMES)
def test_default_is_explicit_little_endian(gateway: RunningGateway, corpus: dict[str, Sample], name: str) -> None:
    """Who names no transfer syntax reads the pixels without any decoder, and the same ones."""
    one = corpus[name]
    (content,) = files(get(gateway, one.path, DICOM))
    read = pydicom.dcmread(io.BytesIO(content))
    assert read.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert read.SOPInstanceUID == one.dataset.SOPInstanceUID
    assert np.array_equal(read.pixel_array, one.pixels())
    names = {element.keyword for element in one.dataset} - {
        "PixelData", "PhotometricInterpretation", "PlanarConfiguration", "DataSetTrailingPadding",
    }  # fmt: skip
    for keyword in filter(None, names):
        assert read.get(keyword) == one.dataset.get(keyword), keyword


def test_client_of_the_field_retrieves_every_level(client: DICOMwebClient, study: list[Sample]) -> None:
    """Streams of multipart, decoded by somebody else's code; series are in the order of Instance Number."""
    first = study[0].dataset
    assert len(client.retrieve_study(first.StudyInstanceUID)) == 4
    series = client.retrieve_series(first.StudyInstanceUID, first.SeriesInstanceUID)
    assert [one.InstanceNumber for one in series] == [1, 2, 3]
    assert list(client.iter_study(first.StudyInstanceUID))
    instance = client.retrieve_instance(first.StudyInstanceUID, first.SeriesInstanceUID, first.SOPInstanceUID)
    assert instance.PixelData == first.PixelData


@pytest.mark.parametrize(
    ("accept", "status", "media_type"),
    [
        ("*/*", 200, "multipart/related"),
        ("", 200, "multipart/related"),
        ("application/dicom", 200, "application/dicom"),
        ("application/dicom; transfer-syntax=*", 200, "application/dicom"),
        ("multipart/related;type=application/dicom;transfer-syntax=*", 200, "multipart/related"),
        ('multipart/related; transfer-syntax=*; type="application/dicom"', 200, "multipart/related"),
        (f'multipart/related; type="image/jpeg"; q=0.9, {ANY_SYNTAX};q=0.5, text/html;q=0.1', 200, "multipart/related"),
        (f"application/dicom;q=0.1, {DICOM}", 200, "multipart/related"),
        (f"{DICOM}; transfer-syntax=1.2.840.10008.1.2.4.90", 406, ""),
        (f"{DICOM}; transfer-syntax=2.25.1", 406, ""),
        (f"{DICOM}; transfer-syntax=1.2.840.10008.1.2", 406, ""),
        ("image/png", 406, ""),
        ("application/dicom;q=0", 406, ""),
        ("rubbish", 400, ""),
    ],
)
def test_accept(gateway: RunningGateway, study: list[Sample], accept: str, status: int, media_type: str) -> None:
    """Several types, q-values, quotes or none, any order of parameters; 406 is no 400."""
    answer = get(gateway, study[0].path, accept)
    assert answer.status_code == status
    if media_type:
        assert answer.headers["content-type"].startswith(media_type)


def test_single_part_is_for_one_instance(gateway: RunningGateway, study: list[Sample]) -> None:
    """`application/dicom` alone cannot hold a series."""
    answer = get(gateway, study[0].path, "application/dicom")
    assert (answer.content, answer.headers["content-length"]) == (study[0].content, str(len(study[0].content)))
    series = study[0].path.rpartition("/instances/")[0]
    assert get(gateway, series, "application/dicom").status_code == 406


def test_what_cannot_be_decoded_is_left_out_aloud(gateway: RunningGateway) -> None:
    """A video among images: 206 and a warning where the client wants it decoded, whole where it takes anything."""
    uid = generate_uid()
    image = made(np.zeros((8, 8), np.uint8), StudyInstanceUID=uid)
    video = made(np.zeros((8, 8), np.uint8), StudyInstanceUID=uid)
    video = Sample(video.content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.102\0"[:20]), video.dataset)
    store(gateway, image, with_syntax(video, "1.2.840.10008.1.2.4.102"))
    answer = get(gateway, f"/studies/{uid}", DICOM)
    assert (answer.status_code, len(parts(answer))) == (206, 1)
    assert "1 instances are left out" in answer.headers["Warning"]
    assert len(files(get(gateway, f"/studies/{uid}", ANY_SYNTAX))) == 2
    assert get(gateway, video.path, DICOM).status_code == 406


def with_syntax(one: Sample, syntax: str) -> Sample:
    """The sample, encapsulated under another transfer syntax; what is in it is no picture."""
    dataset = pydicom.dcmread(io.BytesIO(one.content.replace(b"1.2.840.10008.1.2.4.", b"1.2.840.10008.1.2.1\0")))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    dataset.PixelData = pydicom.encaps.encapsulate([bytes(range(256))])
    dataset["PixelData"].VR = "OB"
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return Sample(buffer.getvalue(), dataset)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies/1.2.3.4.5.6", 404),
        ("/studies/{study}/series/1.2.3", 404),
        ("/studies/{study}/series/{series}/instances/1.2.3", 404),
        ("/studies/{study}/series/1.2.3/instances/{instance}", 404),
        ("/studies/{study}/series/{series}/instances/{instance}/frames/2", 404),
        ("/studies/{study}/series/{series}/instances/{instance}/frames/0", 400),
        ("/studies/{study}/series/{series}/instances/{instance}/frames/1,", 400),
        ("/studies/{study}/series/{series}/instances/{instance}/frames/all", 400),
        ("/studies/{study}/series/{series}/instances/{instance}/bulkdata/00100010/x", 404),
        ("/studies/{study}/series/{series}/instances/{instance}/bulkdata/00420011", 404),
        ("/studies/1.2.3.4.5.6/metadata", 404),
        ("/studies/..%2Fetc", 404),
        ("/studies/abc", 400),
    ],
)
def test_what_is_not_there(gateway: RunningGateway, study: list[Sample], path: str, status: int) -> None:
    """404 for what does not exist, 400 for what cannot; before any byte of an answer."""
    dataset = study[0].dataset
    address = path.format(
        study=dataset.StudyInstanceUID, series=dataset.SeriesInstanceUID, instance=dataset.SOPInstanceUID
    )
    assert get(gateway, address).status_code == status


@pytest.mark.parametrize("name", NAMES)
def test_frames_decoded(gateway: RunningGateway, corpus: dict[str, Sample], name: str) -> None:
    """Values in little endian as `application/octet-stream`, of the first frame and of the last."""
    one = corpus[name]
    frames = one.pixels()
    count = int(one.dataset.get("NumberOfFrames") or 1)
    if count == 1:
        frames = frames[None]
    answer = get(gateway, f"{one.path}/frames/1,{count}", OCTETS)
    (first, last) = parts(answer)
    assert first[0].get_param("transfer-syntax") == ExplicitVRLittleEndian
    for (_, content), frame in zip((first, last), (frames[0], frames[-1]), strict=True):
        assert np.array_equal(as_values(content, frame, one), frame)
    assert get(gateway, f"{one.path}/frames/{count + 1}", OCTETS).status_code == 404


def as_values(content: bytes, like: Any, one: Sample) -> Any:
    if one.dataset.BitsAllocated == 1:
        return np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")[: like.size].reshape(like.shape)
    values = np.frombuffer(content, like.dtype.newbyteorder("<"))[: like.size]
    planar = one.dataset.get("PlanarConfiguration") == 1 and one.syntax.startswith("1.2.840.10008.1.2.")
    if planar and like.ndim == 3 and one.syntax in ("1.2.840.10008.1.2.1", *NEVER_SENT):
        return values.reshape(3, *like.shape[:2]).transpose(1, 2, 0)
    return values.reshape(like.shape)


@pytest.mark.parametrize(
    ("name", "accept", "media_type"),
    [
        ("JPEG-LS", f"{OCTETS}; transfer-syntax=*", "application/octet-stream"),
        ("JPEG-LS", 'multipart/related; type="image/jls"', "image/jls"),
        ("JPEG 2000", 'multipart/related; type="image/jp2"; transfer-syntax=*', "image/jp2"),
        ("JPEG, colour", 'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50', "image/jpeg"),
        ("JPEG, frames", 'multipart/related; type="image/*"', "image/jpeg"),
        ("RLE", 'multipart/related; type="image/dicom-rle"', "image/dicom-rle"),
        ("RLE", 'multipart/related; type="*/*"; transfer-syntax=*', "image/dicom-rle"),
        ("JPEG 2000", "image/jp2", "image/jp2"),
    ],
)
def test_frames_as_they_are_stored(
    gateway: RunningGateway, corpus: dict[str, Sample], name: str, accept: str, media_type: str
) -> None:
    """The compressed stream itself, named by its type and transfer syntax; as viewers ask for it."""
    one = corpus[name]
    answer = get(gateway, f"{one.path}/frames/1", accept)
    assert answer.status_code == 200, answer.text
    count = int(one.dataset.get("NumberOfFrames") or 1)
    stored = pydicom.encaps.get_frame(one.dataset.PixelData, 0, number_of_frames=count)
    if accept.startswith("multipart"):
        ((headers, content),) = parts(answer)
        assert (headers.get_content_type(), headers.get_param("transfer-syntax")) == (media_type, one.syntax)
    else:
        content = answer.content
        assert answer.headers["content-type"].startswith(media_type)
    assert content == stored


def test_frames_by_the_client_of_the_field(client: DICOMwebClient, corpus: dict[str, Sample]) -> None:
    """Several frames of a multi-frame instance, in the order that was asked for."""
    one = corpus["one bit, frames"].dataset
    frames = client.retrieve_instance_frames(
        one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID, frame_numbers=[3, 1]
    )
    size = 512 * 512 // 8
    assert frames == [one.PixelData[2 * size : 3 * size], one.PixelData[:size]]


def test_frame_type_that_it_is_not_stored_in_is_406(gateway: RunningGateway, corpus: dict[str, Sample]) -> None:
    """Nothing is compressed on the way out."""
    assert get(gateway, f"{corpus['explicit'].path}/frames/1", 'multipart/related; type="image/jp2"').status_code == 406


@pytest.mark.parametrize("name", NAMES)
def test_metadata_is_the_data_set_without_bulk(gateway: RunningGateway, corpus: dict[str, Sample], name: str) -> None:
    """Every element is there; pixel data have an address that gives them, also the second time, from the cache."""
    one = corpus[name]
    first, second = (get(gateway, f"{one.path}/metadata") for _ in range(2))
    assert (first.status_code, first.headers["content-type"]) == (200, "application/dicom+json")
    assert first.content == second.content
    (metadata,) = first.json()
    tags = {f"{element.tag:08X}" for element in one.dataset if element.tag.element}
    assert tags - {"FFFCFFFC"} <= set(metadata)
    assert list(metadata) == sorted(metadata)
    assert metadata["00083002"]["Value"] == [one.syntax]
    keywords = ("PatientName", "Rows", "WindowCenter", "ImagePositionPatient", "ImageType", "SOPInstanceUID")
    wanted = {f"{tag:08X}" for keyword in keywords if (tag := tag_for_keyword(keyword))} & set(metadata)
    read = pydicom.Dataset.from_json(json.dumps({tag: metadata[tag] for tag in wanted}))
    for keyword in keywords:
        assert read.get(keyword) == one.dataset.get(keyword)
    address = metadata["7FE00010"]["BulkDataURI"]
    assert address == f"{gateway.url}/dicom-web{one.path}/bulkdata/7FE00010"
    pixels = gateway.http.get(address, headers={"Accept": OCTETS})
    ((_, content),) = parts(pixels)
    assert len(content) >= one.dataset.Rows * one.dataset.Columns // 8


def test_metadata_by_level(client: DICOMwebClient, study: list[Sample]) -> None:
    """One array, whatever the level, in the order of the instances."""
    first = study[0].dataset
    assert len(client.retrieve_study_metadata(first.StudyInstanceUID)) == 4
    series = client.retrieve_series_metadata(first.StudyInstanceUID, first.SeriesInstanceUID)
    assert [one["00200013"]["Value"] for one in series] == [[1], [2], [3]]


def test_metadata_speak_utf8_and_hold_no_bulk(gateway: RunningGateway) -> None:
    """Names in another character set, a private block, an element inside a sequence: each has its place."""
    inner = pydicom.Dataset()
    inner.add_new(0x00420011, "OB", bytes(range(256)) * 9)
    one = made(
        np.zeros((4, 4), np.uint8),
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Prüfung^Gerät",
        PatientComments='say "BulkDataURI":"x"',
        ReferencedImageSequence=[inner],
    )
    store(gateway, one)
    (metadata,) = get(gateway, f"{one.path}/metadata", **{"Accept-Encoding": "gzip"}).json()
    assert metadata["00100010"]["Value"] == [{"Alphabetic": "Prüfung^Gerät"}]
    assert metadata["00080005"]["Value"] == ["ISO_IR 192"]
    assert metadata["00104000"]["Value"] == ['say "BulkDataURI":"x"']
    address = metadata["00081140"]["Value"][0]["00420011"]["BulkDataURI"]
    assert address.endswith("/bulkdata/00081140/0/00420011")
    assert gateway.http.get(address, headers={"Accept": "application/octet-stream"}).content == bytes(range(256)) * 9
    assert files(gateway.http.get(address)) == [bytes(range(256)) * 9]


def test_addresses_in_metadata_are_those_that_the_client_sees(gateway: RunningGateway, study: list[Sample]) -> None:
    """The cache holds none."""
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "pacs.example"}
    (metadata,) = get(gateway, f"{study[0].path}/metadata", **headers).json()
    assert metadata["7FE00010"]["BulkDataURI"].startswith("https://pacs.example/dicom-web/studies/")


def test_file_that_breaks_decoders_costs_one_answer(gateway: RunningGateway) -> None:
    """Broken streams of every codec, asked for at once: each gets its 406, and the door goes on."""
    for syntax in ("4.50", "4.70", "4.80", "4.90", "5"):
        broken = with_syntax(made(np.zeros((64, 64), np.uint8)), f"1.2.840.10008.1.2.{syntax}")
        store(gateway, broken)
        for path in ("", "/frames/1", "/rendered"):
            answer = get(gateway, broken.path + path, "*/*")
            assert answer.status_code == 406, (syntax, path)
            assert "transfer-syntax=*" in answer.text
    assert gateway.http.get("/healthz").status_code == 200


def test_viewer_of_another_origin(gateway: RunningGateway, study: Sequence[Sample]) -> None:
    """Without the setting no page of another address reads anything."""
    answer = get(gateway, "/studies?limit=1", Origin="https://viewer.example")
    assert "access-control-allow-origin" not in answer.headers


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_instances_never_break_the_door(
    gateway: RunningGateway, corpus: dict[str, Sample], data: st.DataObject
) -> None:
    """Flipped bytes in headers and pixels: whatever is stored then, each way to get it ends below 500."""
    one = corpus[data.draw(st.sampled_from(["explicit", "implicit", "big endian", "RLE", "JPEG 2000", "JPEG, colour"]))]
    damaged = bytearray(one.content.replace(str(one.dataset.StudyInstanceUID).encode(), fresh(one)))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(400, len(damaged) - 1))
        damaged[at] = data.draw(st.sampled_from([0, 1, 0x20, 0x7F, 0x80, 0xFE, 0xFF]))
    damaged = bytearray(bytes(damaged).replace(str(one.dataset.SOPInstanceUID).encode(), fresh(one, instance=True)))
    answer = gateway.http.post(
        "/dicom-web/studies", content=multipart(bytes(damaged)), headers={"Content-Type": CONTENT_TYPE}
    )
    assert answer.status_code < 500
    for reference in answer.json().get("00081199", {}).get("Value", []):
        address = reference["00081190"]["Value"][0]
        for path in ("", "/metadata", "/frames/1", "/rendered", "/bulkdata/7FE00010", "/bulkdata/00281050"):
            assert gateway.http.get(address + path).status_code < 500, path
        gateway.http.get(address.rpartition("/series/")[0] + "/metadata").raise_for_status()
    assert gateway.http.get("/dicom-web/studies?limit=3").status_code == 200


def fresh(one: Sample, *, instance: bool = False) -> bytes:
    """A UID of the same length, so that lengths stay right."""
    uid = str(one.dataset.SOPInstanceUID if instance else one.dataset.StudyInstanceUID)
    return (uid[:-12] + "".join(random.choices("123456789", k=12))).encode()


def test_reader_that_leaves_leaves_nothing_open(gateway: RunningGateway) -> None:
    """A viewer that closes its tab in the middle of a study holds no file, no folder and no thread."""
    one = made(np.zeros((1000, 3500), np.uint16))
    store(gateway, one)
    objects = gateway.door.settings.objects_url.removeprefix("file://")

    def opened() -> list[str]:
        links = (str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
        return [link for link in links if link.startswith(objects) or ("(deleted)" in link and "hulumed-" in link)]

    for accept in (ANY_SYNTAX, OCTETS):
        path = f"/dicom-web{one.path}" + ("/frames/1" if accept == OCTETS else "")
        with gateway.http.stream("GET", path, headers={"Accept": accept}) as answer:
            next(answer.iter_raw(1000))
    deadline = time.monotonic() + 20
    while opened() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert opened() == []
    assert not list(Path(str(gateway.door.settings.scratch_dir)).glob("hulumed-*"))
