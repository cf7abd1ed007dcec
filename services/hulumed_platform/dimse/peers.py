"""Who may speak to us: a JSON file of peers. Whoever is not in it is turned away.

{"peers": [{"ae_title": "CT1", "hosts": ["10.1.2.0/24"], "may": ["store", "echo", "commit"],
            "reports_to": {"host": "10.1.2.7", "port": 104}}]}
"""

from collections.abc import Iterable
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hulumed_platform.core.settings import SettingsError

ANY_AE_TITLE = "*"
_AE_TITLE = r"^(\*|[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?)$"


class Permission(StrEnum):
    """What a peer may do."""

    STORE = "store"
    ECHO = "echo"
    COMMIT = "commit"
    """Ask for storage commitment."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ReportAddress(_Model):
    """Where a peer listens for reports of storage commitment, under its own AE title."""

    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    tls: bool = False
    """Whether to speak TLS there, with the certificate and the authorities of the room."""


class Peer(_Model):
    """One line of the allow list."""

    ae_title: str = Field(pattern=_AE_TITLE)
    """Its calling AE title; `*` = any."""
    hosts: tuple[IPv4Network | IPv6Network, ...] = Field(min_length=1)
    """Addresses and networks that it calls from."""
    may: frozenset[Permission] = Field(min_length=1)
    reports_to: ReportAddress | None = None
    """Unset = commitments are reported on the association that asked for them, while it is open."""


class _File(_Model):
    peers: tuple[Peer, ...]


class Peers:
    """The allow list."""

    def __init__(self, peers: Iterable[Peer]) -> None:
        # a peer that is named goes before `*`
        self._peers = sorted(peers, key=lambda peer: peer.ae_title == ANY_AE_TITLE)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file.

        Raises:
            SettingsError: It cannot be read, or is wrong; says every fault and where.
        """
        try:
            return cls(_File.model_validate_json(path.read_bytes()).peers)
        except OSError as error:
            raise SettingsError(f"peers_file {path}: {error.strerror}") from error
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}" for item in error.errors()
            )
            raise SettingsError(f"peers_file {path}: {faults}") from error

    @property
    def report_by_tls(self) -> bool:
        """Whether any peer takes reports by TLS."""
        return any(peer.reports_to is not None and peer.reports_to.tls for peer in self._peers)

    def knows(self, host: str) -> bool:
        """Whether any peer calls from this address."""
        return any(_is_from(peer, host) for peer in self._peers)

    def find(self, ae_title: str, host: str) -> Peer | None:
        """The peer that calls itself so and calls from there."""
        titles = (ae_title, ANY_AE_TITLE)
        return next((peer for peer in self._peers if peer.ae_title in titles and _is_from(peer, host)), None)

    def report_address(self, ae_title: str) -> ReportAddress | None:
        """Where the peer listens for reports."""
        addresses = (peer.reports_to for peer in self._peers if peer.ae_title == ae_title)
        return next((address for address in addresses if address is not None), None)


def _is_from(peer: Peer, host: str) -> bool:
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in peer.hosts)
