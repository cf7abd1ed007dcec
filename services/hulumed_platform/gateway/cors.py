"""Viewers that come from another address (CORS): which may, and what they may read."""

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

_EXPOSED = ("Content-Location", "Content-Range", "Location", "Retry-After", "Warning")
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


def allow_origins(app: FastAPI, origins: str) -> None:
    """Let pages of these origins, with commas between them, use the app; `*` = of any, none without."""
    allowed = [origin.strip() for origin in origins.split(",") if origin.strip()]
    if allowed:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed,
            allow_methods=_METHODS,
            allow_headers=["*"],
            expose_headers=_EXPOSED,
            max_age=3600,
        )
