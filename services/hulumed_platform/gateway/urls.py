"""The address that the client used, as proxies before the gateway tell it."""

import re

from fastapi import Request

_HOST = re.compile(r"[A-Za-z0-9.\-:\[\]]{1,255}")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+){0,8}")


def public_url(request: Request) -> str:
    """Scheme, host and path prefix as the client sees them.

    Forwarded (RFC 7239), else X-Forwarded-*, else the request's own; the prefix only by X-Forwarded-Prefix.
    """
    forwarded = dict(
        pair.strip().split("=", 1)
        for pair in request.headers.get("forwarded", "").split(",")[0].lower().split(";")
        if "=" in pair
    )
    scheme = forwarded.get("proto") or _first(request, "x-forwarded-proto") or request.url.scheme
    host = forwarded.get("host") or _first(request, "x-forwarded-host") or request.url.netloc
    host = host.strip('"')
    if scheme not in ("http", "https") or not _HOST.fullmatch(host):
        return f"{request.url.scheme}://{request.url.netloc}"
    prefix = _first(request, "x-forwarded-prefix").rstrip("/")
    return f"{scheme}://{host}{prefix if _PREFIX.fullmatch(prefix) else ''}"


def _first(request: Request, header: str) -> str:
    return request.headers.get(header, "").split(",")[0].strip()
