"""The base of every room's settings: read from the environment, typed, closed to unknown names."""

import os
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """The environment does not describe a room; the message lists every fault."""


class Settings(BaseSettings):
    """Settings of one process, each a variable `<PREFIX><FIELD>`, e.g. `HULUMED_INGEST_PORT`.

    Unknown variables with the prefix and unparsable values are fatal: a typo never means the default. A secret is the
    path of a file that holds it. Subclasses set the prefix by `SettingsConfigDict(env_prefix=...)`.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    def from_environment(cls) -> Self:
        """Read the settings.

        Raises:
            SettingsError: A variable is unknown, missing or cannot be parsed.
        """
        faults = [f"{name}: no such setting" for name in cls._unknown_variables()]
        try:
            settings = cls()
        except ValidationError as error:
            faults += [_fault(cls.model_config["env_prefix"], item["loc"], item["msg"]) for item in error.errors()]
        if faults:
            raise SettingsError("; ".join(faults))
        return settings

    @classmethod
    def _unknown_variables(cls) -> list[str]:
        prefix = cls.model_config["env_prefix"].upper()
        known = {f"{prefix}{name.upper()}" for name in cls.model_fields}
        return sorted(name for name in os.environ if name.upper().startswith(prefix) and name.upper() not in known)

    def as_environment(self) -> dict[str, str]:
        """The variables that give these settings again; fields at their default are left out."""
        prefix = self.model_config["env_prefix"].upper()
        values = self.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        return {f"{prefix}{name.upper()}": str(value) for name, value in values.items()}


class RoomSettings(Settings):
    """What every room has."""

    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """Least severe level that is logged."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of the Prometheus endpoint; 0 = none (the gateway has it on its own port)."""
    metrics_host: str = "0.0.0.0"  # noqa: S104  a pod's metrics are scraped from outside it
    """Address the Prometheus endpoint listens on."""
    otlp_endpoint: str | None = None
    """OTLP/gRPC collector for traces, e.g. `http://collector:4317`; unset = traces are propagated, not exported."""
    drain_timeout_s: float = Field(default=30.0, gt=0)
    """How long a room that got SIGTERM lets running requests end before it cancels them."""


class GrpcRoomSettings(RoomSettings):
    """What every gRPC room has."""

    host: str = "0.0.0.0"  # noqa: S104  pods are reached from outside; the embedded profile sets loopback
    """Address to listen on."""
    port: int = Field(default=50051, ge=0, le=65535)
    """Port to listen on; 0 = any free one."""
    max_active: int = Field(default=4, ge=1)
    """Requests that work at the same time."""
    max_waiting: int = Field(default=16, ge=0)
    """Requests that wait for their turn; one more is answered with RESOURCE_EXHAUSTED."""
    request_timeout_s: float = Field(default=900.0, gt=0)
    """Longest time a request may wait for the stage before, also where its caller set no deadline."""


class ModelRoomSettings(GrpcRoomSettings):
    """What every room with a part of the model has."""

    checkpoint_dir: Path
    """Folder of the checkpoint; each room loads its own part of it."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """Where the weights go: `cpu`, `cuda`, `cuda:1`; `auto` = cuda where there is one, else cpu."""
    dtype: str = Field(default="auto", pattern="^(auto|float32|bfloat16|float16)$")
    """Type of the weights in memory; `auto` = bfloat16 on cuda, float32 on the cpu."""
    num_threads: int = Field(default=0, ge=0)
    """Threads that one operation uses on the cpu; 0 = as many as there are cores."""


def read_secret(path: Path) -> str:
    """The text of a secret file without the newline at its end.

    Raises:
        SettingsError: The file cannot be read or is empty.
    """
    try:
        secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"secret file {path}: {error.strerror}") from error
    if not secret:
        raise SettingsError(f"secret file {path} is empty")
    return secret


def _fault(prefix: str, location: tuple[int | str, ...], message: str) -> str:
    """One fault in words, without the value: it may be a secret pasted into the wrong place."""
    name = "_".join(str(part) for part in location)
    return f"{prefix}{name}".upper() + f": {message}"
