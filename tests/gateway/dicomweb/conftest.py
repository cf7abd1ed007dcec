"""A gateway that holds the corpus."""

import pytest

from tests.gateway.conftest import RunningGateway
from tests.gateway.dicom import CONTENT_TYPE, multipart
from tests.gateway.dicomweb.corpus import NAMES, Sample, sample


def store(gateway: RunningGateway, *samples: Sample) -> None:
    """Post instances; every one is taken."""
    body = multipart(*(one.content for one in samples))
    answer = gateway.http.post("/dicom-web/studies", content=body, headers={"Content-Type": CONTENT_TYPE})
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="session")
def corpus(gateway: RunningGateway) -> dict[str, Sample]:
    """Every sample, stored."""
    samples = {name: sample(name) for name in NAMES}
    store(gateway, *samples.values())
    return samples
