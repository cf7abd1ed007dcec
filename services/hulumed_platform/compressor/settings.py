"""Settings of the compressor room: `HULUMED_COMPRESSOR_<FIELD>`."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from hulumed_platform.core.settings import ModelRoomSettings


class CompressorSettings(ModelRoomSettings):
    """Whom to ask for features."""

    model_config = SettingsConfigDict(env_prefix="HULUMED_COMPRESSOR_")

    encoder_address: str
    """Where the encoder listens: `host:port` or `dns:///service:port`."""
    planes_ahead: int = Field(default=4, ge=1)
    """Planes of one request that are fetched while the one before is projected; bounds memory."""
