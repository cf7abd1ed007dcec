"""What goes into `prepare` and what comes out of it."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

PATCH_SIZE = 14
PATCH_DIM = 3 * PATCH_SIZE**2
"""Values of a flat patch: channels, rows, columns."""
MEBIBYTE = 1024 * 1024


class Kind(StrEnum):
    """What an item is; its planes share one grid."""

    IMAGE = "image"
    VOLUME = "volume"
    VIDEO = "video"

    @property
    def merge(self) -> int:
        """Side of the square of patches that becomes one token (published: 1 for images, 2 for planes of others)."""
        return 1 if self is Kind.IMAGE else 2


class Axis(StrEnum):
    """The anatomical plane that the slices of a volume lie in."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


class Preprocessing(StrEnum):
    """`upstream` keeps the arithmetic of the published code, its defects included; see `imaging.upstream`."""

    HULUMED = "hulumed"
    UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True)
class Window:
    """Linear VOI window in units of the modality (CT: HU): `center` - `width` / 2 is black, `center` + `width` / 2
    white (LINEAR_EXACT of PS3.3 C.11.2.1.3.2)."""

    center: float
    width: float


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """How a user wants a medium prepared; None = the documented default.

    An option that does not apply to the medium is an error, not ignored.
    """

    window: Window | None = None
    """Grey values to show. Default: the file's own window, else per modality, else robust percentiles."""
    axis: Axis | None = None
    """NIfTI: the plane to slice in, by default axial. DICOM: take only the series that lie in this plane."""
    num_planes: int | None = None
    """Planes to take, spread evenly over the volume or the time range, never the same one twice. Default for a volume:
    all up to 180 (the published slice count), more are sampled down; for a video: as `fps` says, up to 128."""
    start_s: float | None = None
    """Start of the time range of a video. Default: its beginning."""
    end_s: float | None = None
    """End of the time range of a video. Default: its end."""
    fps: float | None = None
    """Planes for each second of video. Default: 1, as published; a DICOM cine loop: 16 planes over the loop."""
    preprocessing: Preprocessing = Preprocessing.HULUMED


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may use; going over one is an `ImagingError` that names the limit and its value."""

    max_bytes: int = 2048 * MEBIBYTE
    """Bytes of one file, as it came and decompressed."""
    max_total_bytes: int = 8192 * MEBIBYTE
    """Bytes of all files of a call, and again of all that is decompressed to scratch."""
    max_plane_pixels: int = 64 * 1000 * 1000
    """Pixels of one plane before it is resized."""
    max_planes: int = 4096
    """Planes of one item; asking for more is an error."""
    max_expansion: float = 200.0
    """Decoded over encoded bytes of a compressed file, once it decodes to more than 64 MiB."""
    max_items: int = 64
    """Items of a call: images, series, volumes and videos."""
    timeout_s: float = 300.0
    """Seconds of work for reading the headers, and again for each pass over the planes; waiting consumers are free."""


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """Visual tokens of a call, before compression (published defaults)."""

    max_tokens: int = 16384
    """Tokens of all planes of the call together."""
    min_tokens: int = 16
    """Tokens that each plane gets at least, even where that breaks `max_tokens`."""
    patch_size: int = PATCH_SIZE
    """Side of a patch in pixels."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One stored object. `digest` is "sha256:<hex>" of its bytes, `label` is safe to show ("file 3 of 12")."""

    path: Path
    digest: str
    label: str


@dataclass(frozen=True, slots=True)
class Media:
    """One medium of a request: a file, the files of a DICOM study, …; `kind` None = found out from the content."""

    files: tuple[SourceFile, ...]
    kind: Kind | None = None
    options: PrepareOptions = field(default_factory=PrepareOptions)


@dataclass(frozen=True, slots=True)
class PlaneSource:
    """Where a plane comes from."""

    digest: str
    sop_instance_uid: str | None
    frame: int | None
    """1-based frame number (DICOM multi-frame)."""
    index: int
    """0-based index of the slice or frame in its source, in the order of the source's planes."""
    time_s: float | None = None
    position_mm: float | None = None
    """Position along the slice normal, in patient coordinates (DICOM), or distance from the first slice (NIfTI)."""


@dataclass(frozen=True, slots=True)
class Note:
    """What was dropped, resampled, assumed or goes over the budget; `code` is for programs, `text` for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """One visual item: an image, a volume or a video, as planes of one grid (`height` x `width` in patches)."""

    media: int
    """Index of the medium in the call."""
    kind: Kind
    height: int
    width: int
    merge: int
    planes: tuple[PlaneSource, ...]
    modality: str | None
    """DICOM Modality ("CT", "MR", …); None where the format does not say."""
    description: str
    series_instance_uid: str | None
    notes: tuple[Note, ...]

    @property
    def num_planes(self) -> int:
        """Planes of the item."""
        return len(self.planes)

    @property
    def tokens_per_plane(self) -> int:
        """Visual tokens of a plane, before compression."""
        return self.height * self.width // self.merge**2

    @property
    def timestamps_s(self) -> tuple[float, ...] | None:
        """Seconds of every plane from the start of a video; None for images and volumes."""
        if self.kind is not Kind.VIDEO:
            return None
        return tuple(plane.time_s or 0.0 for plane in self.planes)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What of a medium did not become planes, and why ("localizer", "structured report", …)."""

    media: int
    reason: str
    what: str
    count: int
    sop_instance_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPlane:
    """One plane, cut into patches.

    Attributes:
        patches: uint8 [height * width, 588], merge-block order, channel-major inside a patch.
        novelty: float32 [tokens_per_plane], mean absolute difference to the previous plane; +inf on plane 0.
    """

    item: int
    plane: int
    patches: npt.NDArray[np.uint8]
    novelty: npt.NDArray[np.float32]
