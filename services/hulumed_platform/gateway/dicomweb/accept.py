"""What a client can read: the Accept header or the `accept` parameter (RFC 9110, section 12.5.1; PS3.18, 8.7.5)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import HTTPException, Request

from hulumed_platform.core.errors import ErrorCode, PlatformError

DICOM_JSON = "application/dicom+json"
MULTIPART = "multipart/related"

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_ITEM = re.compile(rf'(?:[^,"]|{_QUOTED})+')
_PARAMETER = re.compile(rf'(?:[^;"]|{_QUOTED})+')
_TYPE = re.compile(r"[a-z0-9!#$&^_.+*-]+/[a-z0-9!#$&^_.+*-]+")
_MAX_CHARS = 4096


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One acceptable media type; of multipart/related that of its parts, and `multipart` says so."""

    media_type: str
    """Lower case; may be `*/*` or `image/*`."""
    multipart: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case; `q`, and `type` of multipart/related, left out."""
    quality: float = 1.0

    def covers(self, media_type: str) -> bool:
        """Whether the media type is one of the range."""
        kind, _, rest = self.media_type.partition("/")
        return self.media_type in ("*/*", media_type) or (rest == "*" and media_type.startswith(f"{kind}/"))

    @property
    def transfer_syntax(self) -> str | None:
        """The transfer syntax that is asked for; `*` = any, None = the default of the media type."""
        return self.parameters.get("transfer-syntax")


def accepted(request: Request) -> list[MediaRange]:
    """What the client accepts, the best first; everything where it says nothing.

    Raises:
        PlatformError: INVALID_INPUT for what is no list of media types.
    """
    asked = ", ".join(request.query_params.getlist("accept")) or request.headers.get("accept", "")
    if len(asked) > _MAX_CHARS:
        raise _malformed()
    ranges = [found for item in _ITEM.findall(asked) if (found := _range(item)) is not None]
    if asked.strip(" ,") and not ranges:
        raise _malformed()
    ranges.sort(key=lambda found: found.quality, reverse=True)
    return [found for found in ranges or [MediaRange("*/*")] if found.quality > 0]


def require_json(request: Request) -> None:
    """Raise 406 unless the client reads DICOM JSON."""
    ranges = accepted(request)
    if not any(
        not found.multipart and (found.covers(DICOM_JSON) or found.covers("application/json")) for found in ranges
    ):
        raise not_acceptable([DICOM_JSON])


def not_acceptable(offered: Sequence[str]) -> HTTPException:
    """The 406 that names what could be had."""
    return HTTPException(406, f"this can be had as {', '.join(offered)}; change the Accept header")


def _range(item: str) -> MediaRange | None:
    """One item of the list; None for one that is no media type, as some clients send among good ones."""
    head, *rest = (piece.strip() for piece in _PARAMETER.findall(item))
    # A plus sign that nobody escaped comes out of an address as a space.
    media_type = "*/*" if head == "*" else head.lower().replace(" ", "+")
    parameters = dict(_parameters(rest))
    quality = _quality(parameters.pop("q", "1"))
    if not _TYPE.fullmatch(media_type) or quality is None:
        return None
    if not media_type.startswith("multipart/"):
        return MediaRange(media_type, False, parameters, quality)
    inner = parameters.pop("type", "*/*").lower()
    return MediaRange(inner, True, parameters, quality) if media_type == MULTIPART and _TYPE.fullmatch(inner) else None


def _parameters(pieces: Sequence[str]) -> Iterator[tuple[str, str]]:
    for piece in pieces:
        name, equals, value = piece.partition("=")
        if equals:
            text = value.strip()
            quoted = len(text) > 1 and text[0] == text[-1] == '"'
            yield name.strip().lower(), re.sub(r"\\(.)", r"\1", text[1:-1]) if quoted else text


def _quality(text: str) -> float | None:
    return float(text) if re.fullmatch(r"0?\.\d{1,3}|[01](\.\d{0,3})?", text) and float(text) <= 1 else None


def _malformed() -> PlatformError:
    return PlatformError(
        ErrorCode.INVALID_INPUT, "the Accept header is no list of media types (RFC 9110, section 12.5.1)"
    )
