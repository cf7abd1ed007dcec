"""The services of DICOMweb, and how to find which of them a server has."""

from enum import StrEnum

from hulumed_platform.dicomweb_check.server import Answer, Server
from hulumed_platform.dicomweb_check.synthetic import new_uid

ABSENT = (404, 405, 501)
"""What a server answers under an address it has no service for."""


class Service(StrEnum):
    """The services of PS3.18 that are checked."""

    STOW = "STOW-RS"
    QIDO = "QIDO-RS"
    WADO = "WADO-RS"
    UPS = "UPS-RS"
    COMMITMENT = "Storage Commitment"


_PROBES = {
    Service.STOW: ("POST", "/studies", b"", "application/dicom+json"),
    Service.QIDO: ("GET", "/studies?limit=1", None, ""),
    Service.UPS: ("GET", "/workitems?limit=1", None, ""),
    Service.COMMITMENT: ("POST", "/commitment-requests/{uid}", b"[{}]", "application/dicom+json"),
}
"""Requests that change nothing: what is sent is empty."""


def missing_services(server: Server) -> dict[Service, str]:
    """The services that are not there, each with the answer that says so; WADO-RS shows once something is stored."""
    answers = {service: _probe(server, service) for service in _PROBES}
    return {service: f"not offered: {told}" for service, told in answers.items() if told}


def _probe(server: Server, service: Service) -> str:
    method, path, content, content_type = _PROBES[service]
    headers = {"Accept": "application/dicom+json", **({"Content-Type": content_type} if content_type else {})}
    answer: Answer = server.request(method, path.format(uid=new_uid()), content=content, headers=headers)
    return f"{method} {path} is answered {answer.status}" if answer.status in ABSENT else ""
