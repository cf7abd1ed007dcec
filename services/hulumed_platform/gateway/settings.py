"""Settings of the gateway: `HULUMED_GATEWAY_<FIELD>`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from hulumed_platform.core.settings import RoomSettings
from hulumed_platform.storage.settings import StorageSettings

_GIB = 1024**3
_MIB = 1024**2


class GatewaySettings(StorageSettings, RoomSettings):
    """Where to listen, whom to ask, and how much to take."""

    model_config = SettingsConfigDict(env_prefix="HULUMED_GATEWAY_")

    host: str = "0.0.0.0"  # noqa: S104  pods are reached from outside; the embedded profile sets loopback
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on; metrics are under `/metrics` on it."""
    decoder_address: str = ""
    """Where the decoder listens: `host:port` or `dns:///service:port`; empty = none, and questions are refused."""
    tenant: str = "default"
    """Name space of everything that comes through this door."""
    scratch_dir: Path | None = None
    """Folder for bodies while they come in; unset = the system's temporary folder."""
    max_threads: int = Field(default=64, ge=4)
    """Requests that wait for SQL or objects at the same time."""
    max_answers: int = Field(default=256, ge=1)
    """Answers that wait for the decoder's next token at the same time."""
    max_chat_bytes: int = Field(default=256 * _MIB, ge=1024)
    """Largest body of a chat request; larger media go through `/v1/files`."""
    max_chat_memory_bytes: int = Field(default=_GIB, ge=1024)
    """Bodies of all chat requests that are being read; one more is answered with BUSY."""
    max_upload_bytes: int = Field(default=8 * _GIB, ge=1024)
    """Largest file of `/v1/files`."""
    max_instance_bytes: int = Field(default=4 * _GIB, ge=1024)
    """Largest DICOM instance."""
    max_stow_bytes: int = Field(default=32 * _GIB, ge=1024)
    """Largest body of one STOW-RS request, after decompression."""
    max_stow_instances: int = Field(default=10_000, ge=1)
    """Instances of one STOW-RS request; what is known of them is held in memory until its body is whole."""
    stow_timeout_s: float = Field(default=3 * 3600.0, gt=0)
    """Longest time that the body of a STOW-RS request may take. To be shorter than the worker's `orphan_age_s`: until
    the body is whole its instances have no rows; where they are let go meanwhile, 503 tells to send them again."""
    renderers: int = Field(default=2, ge=1)
    """Child processes that read, decode and draw what WADO-RS asks for; they start when they are needed."""
    render_timeout_s: float = Field(default=30.0, gt=0)
    """Seconds that one such job may wait for a child, and then take."""
    render_memory_bytes: int = Field(default=4 * _GIB, ge=_GIB)
    """Address space of a child; what needs more cannot be decoded here."""
    cors_origins: str = Field(default="", pattern=r"^(\*|(https?://[^\s,/*]+)(\s*,\s*https?://[^\s,/*]+)*)?$")
    """Origins of viewers at other addresses, e.g. `https://viewer.example,http://localhost:3000`; `*` = all."""
    body_idle_timeout_s: float = Field(default=60.0, gt=0)
    """How long the sender of a body may be silent."""
    max_new_tokens: int = Field(default=1024, ge=1)
    """Tokens of an answer whose request names no limit."""
    attachment_ttl_s: float = Field(default=24 * 3600.0, gt=0)
    """How long bytes that came inside a chat request are kept."""
    request_timeout_s: float = Field(default=900.0, gt=0)
    """Deadline of a chat request, given down the chain."""
    plan_timeout_s: float = Field(default=5.0, gt=0)
    """Deadline of a look at the decoder for readiness and `/v1/models`."""
