"""In which form a client gets instances and frames: its Accept against what is stored (PS3.18, section 8.7)."""

from collections.abc import Sequence
from dataclasses import dataclass

from hulumed_platform.archive.syntaxes import DECODABLE, EXPLICIT, MEDIA_TYPES, NEVER_SENT, UNCOMPRESSED
from hulumed_platform.gateway.dicomweb.accept import MediaRange

DICOM = "application/dicom"
OCTETS = "application/octet-stream"
ANY = "*"


@dataclass(frozen=True, slots=True)
class Form:
    """How pixels or an instance go out: as stored, or decoded to Explicit VR Little Endian."""

    media_type: str
    transfer_syntax: str
    decode: bool
    multipart: bool

    @property
    def content_type(self) -> str:
        """Of a part."""
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax}"


def instance_form(ranges: Sequence[MediaRange], stored: str) -> Form | None:
    """The form of an instance that is stored in a transfer syntax; None where the client accepts none that we have."""
    for accepted in ranges:
        if not accepted.covers(DICOM):
            continue
        multipart = accepted.multipart or accepted.media_type == "*/*"
        asked = accepted.transfer_syntax
        if stored not in NEVER_SENT and (asked in (ANY, stored) or (asked is None and stored == EXPLICIT)):
            return Form(DICOM, stored, False, multipart)
        if stored in DECODABLE and asked in (None, EXPLICIT, ANY):
            return Form(DICOM, EXPLICIT, stored != EXPLICIT, multipart)
    return None


def pixel_form(ranges: Sequence[MediaRange], stored: str) -> Form | None:
    """The form of frames, or of pixel data as bulk data; None where the client accepts none that we have."""
    for accepted in ranges:
        multipart = accepted.multipart or accepted.media_type == "*/*"
        compressed = _compressed(accepted, stored)
        if compressed is not None:
            return Form(compressed, stored, False, multipart)
        if accepted.covers(OCTETS) and stored in DECODABLE and accepted.transfer_syntax in (None, EXPLICIT, ANY):
            return Form(OCTETS, EXPLICIT, stored not in UNCOMPRESSED, multipart)
    return None


def _compressed(accepted: MediaRange, stored: str) -> str | None:
    """The media type of frames as they are stored; None where they are not compressed or not wanted so.

    Viewers ask for `application/octet-stream; transfer-syntax=*` and mean it.
    """
    own = MEDIA_TYPES.get(stored)
    asked = accepted.transfer_syntax
    if own is None or asked not in (None, ANY, stored):
        return None
    wide = accepted.covers(OCTETS)
    if wide and asked is None and stored in DECODABLE:
        return None
    if accepted.covers(own) or (own == "image/jls" and accepted.media_type == "image/x-jls"):
        return own
    return OCTETS if wide and asked is not None else None
