"""Viewers at another address: only those that the settings name."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from pydantic import ValidationError

from hulumed_platform.gateway.settings import GatewaySettings
from tests.gateway.conftest import RunningGateway, serving
from tests.support.processes import free_ports

VIEWER = "https://viewer.example"


@pytest.fixture(scope="module")
def http(gateway: RunningGateway) -> Iterator[httpx.Client]:
    update = {"port": free_ports(1)[0], "cors_origins": f"{VIEWER}, http://localhost:3000"}
    settings = gateway.door.settings.model_copy(update=update)
    with serving(replace(gateway.door, settings=settings)) as url, httpx.Client(base_url=url) as client:
        yield client


def test_named_origin_may_ask_and_read(http: httpx.Client) -> None:
    """Also the headers that DICOMweb speaks with, and with an Accept that needs asking first."""
    asked = {"Origin": VIEWER, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "accept,x-y"}
    answer = http.options("/dicom-web/studies", headers=asked)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, VIEWER)
    answer = http.get("/dicom-web/studies?Nonsense=1&limit=1", headers={"Origin": VIEWER})
    assert answer.headers["access-control-allow-origin"] == VIEWER
    exposed = answer.headers["access-control-expose-headers"]
    assert {"Warning", "Content-Location"} <= set(exposed.split(", "))


def test_errors_can_be_read_too(http: httpx.Client) -> None:
    """Else a viewer shows "network error" for every 404."""
    answer = http.get("/dicom-web/studies/1.2.3.404", headers={"Origin": VIEWER})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (404, VIEWER)


@pytest.mark.parametrize("origin", ["https://evil.example", "https://viewer.example.evil.example", "null"])
def test_other_origins_may_not(http: httpx.Client, origin: str) -> None:
    """Patient data do not go to pages that nobody named."""
    answer = http.get("/dicom-web/studies", headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origins", ["viewer.example", "https://a.example/path", "https://*.example", "a,b"])
def test_what_is_no_origin_stops_the_room(origins: str) -> None:
    """A typo must not open or close a door in silence."""
    with pytest.raises(ValidationError):
        GatewaySettings(
            decoder_address="d:1", database_url="sqlite:////tmp/x", objects_url="file:///tmp/x", cors_origins=origins
        )
