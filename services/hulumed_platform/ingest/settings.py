"""Settings of the ingest room: `HULUMED_INGEST_<FIELD>`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from hulumed_platform.core.settings import GrpcRoomSettings
from hulumed_platform.imaging.types import Limits, TokenBudget
from hulumed_platform.storage.settings import ObjectSettings

_LIMITS = Limits()
_BUDGET = TokenBudget()


class IngestSettings(ObjectSettings, GrpcRoomSettings):
    """Where the objects are, and how much of them one request may use."""

    model_config = SettingsConfigDict(env_prefix="HULUMED_INGEST_")

    scratch_dir: Path | None = None
    """Folder for copies and decompressed files while a request runs; unset = the system's temporary folder."""
    fetch_threads: int = Field(default=8, ge=1)
    """Objects of one request that are fetched at the same time."""
    max_bytes: int = Field(default=_LIMITS.max_bytes, gt=0)
    """Bytes of one file, as it came and decompressed."""
    max_total_bytes: int = Field(default=_LIMITS.max_total_bytes, gt=0)
    """Bytes of all files of a request, and again of all that is decompressed to scratch."""
    max_plane_pixels: int = Field(default=_LIMITS.max_plane_pixels, gt=0)
    """Pixels of one plane before it is resized."""
    max_planes: int = Field(default=_LIMITS.max_planes, gt=0)
    """Planes of one image, series or video."""
    max_expansion: float = Field(default=_LIMITS.max_expansion, gt=1)
    """Decoded over encoded bytes of a compressed file, once it decodes to more than 64 MiB."""
    max_items: int = Field(default=_LIMITS.max_items, gt=0)
    """Images, series and videos of a request."""
    work_timeout_s: float = Field(default=_LIMITS.timeout_s, gt=0)
    """Seconds of work for the headers of a request, and again for its pixels; waiting for slow readers is free."""
    max_tokens: int = Field(default=_BUDGET.max_tokens, gt=0)
    """Visual tokens of a request before compression: planes are made smaller until they fit."""
    min_tokens: int = Field(default=_BUDGET.min_tokens, gt=0)
    """Visual tokens that every plane gets at least, even where that breaks `max_tokens`."""

    @property
    def limits(self) -> Limits:
        """The limits of a request, as imaging takes them."""
        return Limits(
            max_bytes=self.max_bytes,
            max_total_bytes=self.max_total_bytes,
            max_plane_pixels=self.max_plane_pixels,
            max_planes=self.max_planes,
            max_expansion=self.max_expansion,
            max_items=self.max_items,
            timeout_s=self.work_timeout_s,
        )

    @property
    def budget(self) -> TokenBudget:
        """The token budget of a request, as imaging takes it."""
        return TokenBudget(max_tokens=self.max_tokens, min_tokens=self.min_tokens)
