"""Settings of the decoder room: `HULUMED_DECODER_<FIELD>`."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from hulumed_platform.core.settings import ModelRoomSettings
from hulumed_platform.model.engine.base import EngineName


class DecoderSettings(ModelRoomSettings):
    """Whom to ask for visual tokens, and how to generate."""

    model_config = SettingsConfigDict(env_prefix="HULUMED_DECODER_")

    compressor_address: str
    """Where the compressor listens: `host:port` or `dns:///service:port`."""
    max_active: int = Field(default=8, ge=1)
    """Requests that are answered at the same time, each of which holds a cache of its prompt and answer."""
    engine: EngineName = "transformers"
    """What generates: `transformers` is the plain reference engine."""
    prefill_chunk: int = Field(default=512, ge=1)
    """Prompt tokens of one forward pass; others get their turn between two of them."""
    max_new_tokens: int = Field(default=4096, ge=1)
    """Most tokens that one answer may be asked to have."""
