"""Settings of the dimse room: `HULUMED_DIMSE_<FIELD>`."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from hulumed_platform.core.settings import RoomSettings
from hulumed_platform.storage.settings import StorageSettings

_GIB = 1024**3
_MIB = 1024**2


class DimseSettings(StorageSettings, RoomSettings):
    """Where to listen, who may come, how much to take, and how commitments are reported."""

    model_config = SettingsConfigDict(env_prefix="HULUMED_DIMSE_")

    host: str = "0.0.0.0"  # noqa: S104  pods are reached from outside; the embedded profile sets loopback
    """Address to listen on, for DICOM and for the probes."""
    port: int = Field(default=11112, ge=0, le=65535)
    """Port of DICOM; 0 = any free one."""
    probes_port: int = Field(default=8082, ge=0, le=65535)
    """Port of `/healthz` and `/readyz`; 0 = any free one."""
    ae_title: str = Field(default="HULUMED", pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$")
    """Our AE title; an association that calls another one is rejected."""
    peers_file: Path
    """JSON file that says who may do what, see `peers.py`; whoever is not in it is turned away."""
    tenant: str = "default"
    """Name space of everything that comes through this door."""
    scratch_dir: Path | None = None
    """Folder for large instances while they come in; unset = the system's temporary folder."""

    max_associations: int = Field(default=64, ge=1, le=400)
    """Associations at the same time; one more is rejected as "local limit exceeded"."""
    max_pdu_bytes: int = Field(default=128 * 1024, ge=4096, le=_MIB)
    """Largest PDU that peers are asked to send."""
    max_instance_bytes: int = Field(default=4 * _GIB, ge=1024)
    """Largest DICOM instance; a larger one is answered with A700."""
    max_disk_used: float = Field(default=0.95, gt=0, le=1)
    """Used part of the scratch disk or of a local object store's disk above which instances are answered with A700."""
    private_classes: bool = False
    """Whether to store instances of private SOP classes."""

    acse_timeout_s: float = Field(default=30.0, gt=0)
    """How long a connection may take for its TLS handshake, and then to ask for an association or to answer ours."""
    dimse_timeout_s: float = Field(default=30.0, gt=0)
    """How long a peer may take to answer a report of ours."""
    network_timeout_s: float = Field(default=60.0, gt=0)
    """How long an association may be silent."""

    tls_cert_file: Path | None = None
    """PEM file with our certificate and its chain; unset = no TLS."""
    tls_key_file: Path | None = None
    """PEM file with the certificate's private key, not encrypted."""
    tls_ca_file: Path | None = None
    """PEM file with the authorities whose certificates peers may show."""
    tls_client_certificate: Literal["none", "optional", "required"] = "required"
    """Whether peers show a certificate: never asked for, checked where shown, or needed."""

    report_interval_s: float = Field(default=2.0, gt=0)
    """How often to look for storage commitments that are to be reported."""
    report_retry_after_s: float = Field(default=5.0, gt=0)
    """Pause after a report that did not reach its peer; it doubles with each one."""
    report_max_retry_after_s: float = Field(default=900.0, gt=0)
    """Longest pause between two tries."""
    report_give_up_after_s: float = Field(default=3 * 24 * 3600.0, gt=0)
    """A report that has not reached its peer for so long is dropped; the peer may ask again."""
