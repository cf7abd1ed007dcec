"""TLS as BCP 195 (RFC 9325) and the profiles of PS3.15, annex B, ask for it."""

import ssl
from collections.abc import Callable
from pathlib import Path

from hulumed_platform.core.settings import SettingsError
from hulumed_platform.dimse.settings import DimseSettings

_TLS12_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Forward secrecy and authenticated encryption only; TLS 1.3 has nothing else."""
_CERTIFICATES = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def server_context(settings: DimseSettings) -> ssl.SSLContext | None:
    """What incoming connections are wrapped in; None = no TLS.

    Raises:
        SettingsError: A file is missing, unreadable or holds something else.
    """
    if settings.tls_cert_file is None:
        if settings.tls_key_file is not None:
            raise SettingsError("tls_cert_file: needed because tls_key_file is given")
        return None
    context = _context(settings, ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = _CERTIFICATES[settings.tls_client_certificate]
    if context.verify_mode is not ssl.CERT_NONE and settings.tls_ca_file is None:
        raise SettingsError("tls_ca_file: needed because tls_client_certificate is not 'none'")
    return context


def client_context(settings: DimseSettings) -> ssl.SSLContext:
    """What reports to peers that listen by TLS are wrapped in; the peer's certificate must name its host.

    Raises:
        SettingsError: A file is missing, unreadable or holds something else.
    """
    if settings.tls_ca_file is None:
        raise SettingsError("tls_ca_file: needed because a peer of peers_file takes reports by TLS")
    return _context(settings, ssl.PROTOCOL_TLS_CLIENT)


def _context(settings: DimseSettings, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS12_CIPHERS)
    if settings.tls_cert_file is not None:
        _load("tls_cert_file, tls_key_file", settings.tls_cert_file, context.load_cert_chain, settings.tls_key_file)
    if settings.tls_ca_file is not None:
        _load("tls_ca_file", settings.tls_ca_file, context.load_verify_locations)
    return context


def _load(names: str, path: Path, load: Callable[..., None], *more: Path | None) -> None:
    try:
        load(path, *more)
    except OSError as error:  # ssl.SSLError is one: the file holds no certificate, or the key does not fit it
        raise SettingsError(f"{names}: {path}: {error.strerror or error}") from error
