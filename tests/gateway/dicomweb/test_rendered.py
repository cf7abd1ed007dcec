"""Rendered pictures: what a browser shows is what the file says. Rules: PS3.18, sections 8.3.5 and 10.4.1.1.3."""

import io
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom.uid import generate_uid

from tests.gateway.conftest import RunningGateway
from tests.gateway.dicomweb.conftest import store
from tests.gateway.dicomweb.corpus import NAMES, Sample, document, made
from tests.gateway.dicomweb.related import parts

PNG = "image/png"
RAMP = np.tile(np.arange(256, dtype=np.uint16), (64, 1))
"""[64, 256]: 0 on the left, 255 on the right."""


def get(gateway: RunningGateway, path: str, wanted: str = PNG, **parameters: str) -> httpx.Response:
    return gateway.http.get(f"/dicom-web{path}", params=parameters, headers={"Accept": wanted})


def picture(answer: httpx.Response) -> npt.NDArray[np.uint8]:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


@pytest.fixture(scope="module")
def ramp(gateway: RunningGateway) -> Sample:
    """Values from 0 to 255 in 16 bits, with a rescale to -100 … 155."""
    one = made(RAMP, RescaleSlope="1", RescaleIntercept="-100", WindowCenter="28", WindowWidth="256")
    store(gateway, one)
    return one


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_has_a_picture(gateway: RunningGateway, corpus: dict[str, Sample], name: str) -> None:
    """Of the size of the image, neither black nor white throughout."""
    one = corpus[name]
    shown = picture(get(gateway, f"{one.path}/rendered"))
    assert shown.shape[:2] == (one.dataset.Rows, one.dataset.Columns)
    assert shown.min() < shown.max()


def test_own_window_and_asked_ones(gateway: RunningGateway, ramp: Sample) -> None:
    """Centre and width are in rescaled units; linear, linear-exact and sigmoid differ as PS3.3 C.11.2.1 says."""
    path = f"{ramp.path}/rendered"
    own = picture(get(gateway, path))[0].astype(int)
    assert np.abs(own - np.arange(256)).max() <= 1
    narrow = picture(get(gateway, path, window="0,100,linear-exact"))[0].astype(int)
    expected = np.clip((np.arange(256) - 100) / 100 + 0.5, 0, 1) * 255
    assert np.abs(narrow - expected).max() <= 1
    sigmoid = picture(get(gateway, path, window="0,100,SIGMOID"))[0].astype(int)
    assert np.abs(sigmoid - 255 / (1 + np.exp(-4 * (np.arange(256) - 100) / 100))).max() <= 1
    linear = picture(get(gateway, path, window="0,2,linear"))[0]
    assert sorted({*linear.tolist()}) == [0, 128, 255] or set(linear.tolist()) == {0, 255}


def test_monochrome1_is_shown_inverted(gateway: RunningGateway) -> None:
    """Its lowest value is white."""
    one = made(RAMP.astype(np.uint8), PhotometricInterpretation="MONOCHROME1")
    store(gateway, one)
    shown = picture(get(gateway, f"{one.path}/rendered"))
    assert (shown[0, 0], shown[0, 255]) == (255, 0)


def test_slices_are_shown_as_they_are_stored(gateway: RunningGateway) -> None:
    """The model sees slices turned to the usual display; a picture must fit the marks of a viewer."""
    turned = {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0], "ImagePositionPatient": [0, 0, 0]}
    one = made(RAMP.astype(np.uint8), Modality="CT", WindowCenter="128", WindowWidth="256", **turned)
    store(gateway, one)
    shown = picture(get(gateway, f"{one.path}/rendered"))
    assert shown[0, 0] < shown[0, 255]


@pytest.mark.parametrize(
    ("viewport", "size", "ends"),
    [
        ("128,128", (128, 32), (0, 255)),
        ("512,512", (512, 128), (0, 255)),
        ("100,100,128,0,64,64", (100, 100), (128, 191)),
        ("256,64,,,-256,", (256, 64), (255, 0)),
    ],
)
def test_viewport(
    gateway: RunningGateway, ramp: Sample, viewport: str, size: tuple[int, int], ends: tuple[int, int]
) -> None:
    """The largest that fits, with its proportions; of a region; mirrored where its width is negative."""
    shown = picture(get(gateway, f"{ramp.path}/rendered", viewport=viewport)).astype(int)
    assert shown.shape == size[::-1]
    assert np.abs(shown[5, [0, -1]] - ends).max() <= 4


def test_quality(gateway: RunningGateway, corpus: dict[str, Sample]) -> None:
    """Fewer bytes for less."""
    path = f"{corpus['palette'].path}/rendered"
    low, high = (len(get(gateway, path, "image/jpeg", quality=quality).content) for quality in ("10", "95"))
    assert 2 * low < high


@pytest.mark.parametrize(
    "parameters",
    [
        {"window": "40"}, {"window": "40,0,linear"}, {"window": "a,b,linear"}, {"window": "40,400,cubic"},
        {"window": "nan,400,linear"}, {"window": "40,inf,linear"}, {"viewport": "0,0"}, {"viewport": "100"},
        {"viewport": "100,100,1"}, {"viewport": "-5,5"}, {"viewport": "99999,99999"}, {"quality": "0"},
        {"quality": "101"}, {"quality": "best"},
    ],
)  # fmt: skip
def test_impossible_parameters_are_400(gateway: RunningGateway, ramp: Sample, parameters: dict[str, str]) -> None:
    """A typo must not show another picture than the one that was meant."""
    assert get(gateway, f"{ramp.path}/rendered", **parameters).status_code == 400


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "image/jpeg"),
        ("image/*", "image/jpeg"),
        ("image/jpeg;q=0.2, image/png;q=0.7", "image/png"),
        ("image/webp, image/gif", "image/gif"),
        ("text/html,application/xhtml+xml,image/avif,*/*;q=0.8", "image/jpeg"),
        ("video/mp4", None),
    ],
)
def test_accept(gateway: RunningGateway, ramp: Sample, accept: str, media_type: str | None) -> None:
    """Browsers, viewers, and 406 for what is not drawn; in an `img` the `accept` parameter says it."""
    answer = get(gateway, f"{ramp.path}/rendered", accept)
    assert answer.status_code == (200 if media_type else 406)
    if media_type:
        assert answer.headers["content-type"] == media_type
    assert get(gateway, f"{ramp.path}/rendered", "*/*", accept=PNG).headers["content-type"] == PNG


def test_frames(gateway: RunningGateway, corpus: dict[str, Sample], client: DICOMwebClient) -> None:
    """Each frame its own picture; several are several parts; 404 beyond the last, 400 for 0."""
    one = corpus["JPEG, frames"]
    first, last = (picture(get(gateway, f"{one.path}/frames/{number}/rendered")) for number in (1, 120))
    assert first.shape == (480, 640, 3)
    assert np.array_equal(first, picture(get(gateway, f"{one.path}/rendered")))
    assert not np.array_equal(first, last)
    answer = get(gateway, f"{one.path}/frames/1,120/rendered", f'multipart/related; type="{PNG}"')
    assert [headers.get_content_type() for headers, _ in parts(answer)] == [PNG, PNG]
    assert get(gateway, f"{one.path}/frames/121/rendered").status_code == 404
    assert get(gateway, f"{one.path}/frames/0/rendered").status_code == 400
    dataset = one.dataset
    content = client.retrieve_instance_frames_rendered(
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID, [2], media_types=("image/jpeg",)
    )
    assert Image.open(io.BytesIO(content)).size == (640, 480)


@pytest.fixture
def client(gateway: RunningGateway) -> DICOMwebClient:
    return DICOMwebClient(f"{gateway.url}/dicom-web")


def test_series_and_study(gateway: RunningGateway, client: DICOMwebClient) -> None:
    """One picture stands for a series, or all come as parts; a report among the images is passed over."""
    study, series = generate_uid(), generate_uid()
    common: dict[str, Any] = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
    images = [made(RAMP.astype(np.uint8), InstanceNumber=number, **common) for number in (1, 2)]
    report = document(b"%PDF-1.4 of no use here")
    report.dataset.StudyInstanceUID = study
    store(gateway, *images)
    path = f"/studies/{study}/series/{series}/rendered"
    assert picture(get(gateway, path)).shape == (64, 256)
    assert picture(get(gateway, f"/studies/{study}/rendered")).shape == (64, 256)
    assert len(parts(get(gateway, path, f"multipart/related; type={PNG}"))) == 2
    assert Image.open(io.BytesIO(client.retrieve_series_rendered(study, series))).format == "JPEG"


@pytest.mark.parametrize("level", [2, 4, 6])
def test_thumbnails(gateway: RunningGateway, corpus: dict[str, Sample], level: int) -> None:
    """Of a study, a series, an instance: small, whatever its size."""
    path = "/".join(corpus["palette"].path.split("/")[: level + 1])
    shown = picture(get(gateway, f"{path}/thumbnail", "*/*"))
    assert max(shown.shape[:2]) == 256
    assert max(picture(get(gateway, f"{path}/thumbnail", viewport="64,64")).shape[:2]) == 64


def test_encapsulated_pdf_is_its_own_rendering(gateway: RunningGateway) -> None:
    """And no picture."""
    one = document(b"%PDF-1.4\n" + bytes(2000))
    store(gateway, one)
    for accept in ("application/pdf", "*/*"):
        answer = get(gateway, f"{one.path}/rendered", accept)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
        assert answer.content.startswith(b"%PDF-1.4")
    assert get(gateway, f"{one.path}/rendered").status_code == 406


def test_what_is_not_done_is_told(gateway: RunningGateway, ramp: Sample) -> None:
    """`Warning: 299` for annotations, which we do not burn in."""
    answer = get(gateway, f"{ramp.path}/rendered", annotation="patient")
    assert (answer.status_code, answer.headers["Warning"][:4]) == (200, "299 ")
