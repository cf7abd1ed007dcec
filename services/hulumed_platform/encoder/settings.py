"""Settings of the encoder room: `HULUMED_ENCODER_<FIELD>`."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from hulumed_kernels.dispatch import KernelChoice
from hulumed_platform.core.settings import ModelRoomSettings


class EncoderSettings(ModelRoomSettings):
    """Whom to ask for planes, and how many of them to encode at once."""

    model_config = SettingsConfigDict(env_prefix="HULUMED_ENCODER_")

    ingest_address: str
    """Where ingest listens: `host:port` or `dns:///service:port`."""
    max_batch_patches: int = Field(default=16384, ge=1)
    """Patches of one forward pass, whoever asked for them; a single plane may have more."""
    planes_in_flight: int = Field(default=8, ge=1)
    """Planes of one request that are in this room at the same time; bounds memory and the share of a batch."""
    kernels: KernelChoice = KernelChoice.AUTO
    """How memory-bound steps are done: `triton` kernels, plain PyTorch as `reference`; `auto` = triton on cuda."""
