"""Settings of the worker room: `HULUMED_WORKER_<FIELD>`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from hulumed_platform.core.settings import RoomSettings
from hulumed_platform.storage.settings import StorageSettings

_REPORT_PROMPT = (
    "Write the radiology report of this study. Under 'Findings:' describe what the images show, organ by organ, the "
    "normal and the abnormal, with side, place and size. Under 'Impression:' sum up the findings that matter, the most "
    "important one first. Write nothing that the images do not show."
)


class WorkerSettings(StorageSettings, RoomSettings):
    """Whom to ask, which broker to listen to, when a study is complete, and how often to try."""

    model_config = SettingsConfigDict(env_prefix="HULUMED_WORKER_")

    host: str = "0.0.0.0"  # noqa: S104  pods are probed from outside; the embedded profile sets loopback
    """Address that `/healthz` and `/readyz` listen on."""
    port: int = Field(default=8081, ge=0, le=65535)
    """Port of the probes; 0 = any free one."""
    decoder_address: str = ""
    """Where the decoder listens: `host:port` or `dns:///service:port`; empty = none, and complete studies wait."""
    broker_url: str = Field(pattern=r"^(filesystem:///.+|(redis|rediss|amqp)://[^/?#]+(/[^?#]*)?)$")
    """`filesystem:///absolute/folder`, which needs no server, `redis[s]://host:port/0` or `amqp://user@host:port/vhost`."""
    broker_password_file: Path | None = None
    """File that holds the broker's password."""
    tenant: str = "default"
    """Tenant whose objects are deleted once nothing names them any more, and whose studies fail once theirs are gone.
    Studies are worked on for every tenant."""
    concurrency: int = Field(default=2, ge=1)
    """Studies that this process works on at the same time."""

    rules_file: Path | None = None
    """Rules that say which studies are worked on, when they are complete and what is asked of them; see docs/rules.md.
    It is read again when it changes. Unset = every study, by `quiet_s` and the `report_…` settings below."""
    quiet_s: float = Field(default=30.0, ge=0)
    """A study is complete when no instance has come for so long. Not used where there is a rules file."""
    sweep_interval_s: float = Field(default=2.0, gt=0)
    """How often to look for studies that are complete, lost or to be tried again."""
    pickup_s: float = Field(default=300.0, gt=0)
    """How long a sent study may wait for a worker until it is sent again, as its message may be lost."""
    lease_s: float = Field(default=60.0, gt=0)
    """A worker that has not been heard of for so long is dead, and its study is taken from it."""
    max_attempts: int = Field(default=8, ge=1)
    """How often a study is tried before it fails for good. New instances start the count again."""
    retry_after_s: float = Field(default=5.0, gt=0)
    """Pause after the first failed attempt; it doubles with each one."""
    max_retry_after_s: float = Field(default=900.0, gt=0)
    """Longest pause between two attempts."""

    report_system_prompt: str = ""
    """What the model is told before the study; empty = nothing, as the published model was trained. This and the next
    two are not used where there is a rules file."""
    report_prompt: str = Field(default=_REPORT_PROMPT, min_length=1)
    """What the model is asked of every study."""
    max_new_tokens: int = Field(default=1024, ge=1)
    """Longest report, in tokens. Reports are decoded greedily."""
    plan_timeout_s: float = Field(default=300.0, gt=0)
    """Deadline for the planning of a study."""
    report_timeout_s: float = Field(default=900.0, gt=0)
    """Deadline for the writing of a report."""

    retention_interval_s: float = Field(default=600.0, gt=0)
    """How often to delete expired files and objects that nothing names, and to look for instances without an object."""
    orphan_age_s: float = Field(default=6 * 3600.0, gt=0)
    """An object that nothing names is deleted at this age: longer than the longest upload takes,
    which is the gateway's `stow_timeout_s`. A slower one is told to send again."""
