"""TLS on both sides of an association, as BCP 195 asks for it."""

import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from hulumed_platform.core.settings import SettingsError
from hulumed_platform.dimse.tls import client_context, server_context
from tests.support.dimse import LOOPBACK, Archive, associated, dcmtk, encoded, try_dcmtk
from tests.support.study_desk import wait_until


class Authority:
    """An authority with a certificate for everyone who asks."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        self._folder = folder
        self._key = rsa.generate_private_key(65537, 2048)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / "ca.pem"
        self.file.write_bytes(_pem(self._signed(self._name, self._key, is_authority=True)))

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for loopback, and its key."""
        key = rsa.generate_private_key(65537, 2048)
        certificate = self._signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
        files = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        files[0].write_bytes(_pem(certificate))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    def _signed(self, subject: x509.Name, key: rsa.RSAPrivateKey, *, is_authority: bool = False) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom room and peers trust."""
    return Authority(tmp_path_factory.mktemp("tls") / "trusted", "trusted")


@pytest.fixture
def tls(authority: Authority) -> dict[str, Any]:
    """The room's settings."""
    certificate, key = authority.issue("room")
    return {"tls_cert_file": certificate, "tls_key_file": key, "tls_ca_file": authority.file}


def as_peer(authority: Authority) -> list[str]:
    """Options of DCMTK for a peer with a certificate."""
    certificate, key = authority.issue("peer")
    return ["+tls", str(key), str(certificate), "+cf", str(authority.file)]


def test_dcmtk_stores_by_tls(archive: Archive, authority: Authority, tls: dict[str, Any], tmp_path: Path) -> None:
    """Both sides show certificates that the other one checks."""
    path = tmp_path / "ct.dcm"
    path.write_bytes(encoded("1.2.840.10008.1.2.1", size_bytes=3_000_000))
    with archive.room(**tls) as room:
        dcmtk("echoscu", room.port, *as_peer(authority))
        dcmtk("storescu", room.port, *as_peer(authority), path)
    assert len(archive.instances()) == 1


def test_who_shows_no_certificate_or_a_strange_one_is_not_spoken_to(
    archive: Archive, authority: Authority, tls: dict[str, Any], tmp_path: Path
) -> None:
    """Nor is who speaks no TLS at all; and the room goes on."""
    stranger = Authority(tmp_path / "other", "other")
    certificate, key = stranger.issue("stranger")
    with archive.room(**tls, acse_timeout_s=2.0) as room:
        assert try_dcmtk("echoscu", room.port, "+tla", "+cf", str(authority.file))[0] != 0
        strange = ["+tls", str(key), str(certificate), "+cf", str(authority.file)]
        assert try_dcmtk("echoscu", room.port, *strange)[0] != 0
        assert try_dcmtk("echoscu", room.port)[0] != 0
        dcmtk("echoscu", room.port, *as_peer(authority))


def test_certificates_of_peers_may_be_left_out(
    archive: Archive, authority: Authority, tls: dict[str, Any], tmp_path: Path
) -> None:
    """Old modalities have none; one that is shown is still checked where the setting says so."""
    strange = Authority(tmp_path / "other", "other").issue("stranger")
    options = ["+tls", str(strange[1]), str(strange[0]), "+cf", str(authority.file)]
    with archive.room(**tls, tls_client_certificate="optional") as room:
        dcmtk("echoscu", room.port, "+tla", "+cf", str(authority.file))
        assert try_dcmtk("echoscu", room.port, *options)[0] != 0
    with archive.room(**tls, tls_client_certificate="none") as room:
        dcmtk("echoscu", room.port, *options)


@pytest.mark.parametrize("old", ["-tls1", "-tls1_1"])
def test_old_versions_are_not_spoken(archive: Archive, authority: Authority, tls: dict[str, Any], old: str) -> None:
    """RFC 9325, section 3.1.1: TLS 1.2 at least."""
    certificate, key = authority.issue("peer")
    command = ["openssl", "s_client", old, "-cipher", "ALL:@SECLEVEL=0", "-cert", certificate, "-key", key]
    with archive.room(**tls) as room:
        done = subprocess.run(
            [*map(str, command), "-connect", f"{LOOPBACK}:{room.port}"], input=b"", capture_output=True, check=False
        )
    assert done.returncode != 0


def test_only_ciphers_with_forward_secrecy(archive: Archive, tls: dict[str, Any]) -> None:
    """RFC 9325, section 4.1 and 4.2: ephemeral keys and authenticated encryption."""
    context = server_context(archive.settings(**tls))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    names = [cipher["name"] for cipher in context.get_ciphers()]
    assert names
    assert all(name.startswith(("ECDHE-", "TLS_")) and ("GCM" in name or "CHACHA20" in name) for name in names)


def test_a_handshake_that_hangs_keeps_nobody_waiting(
    archive: Archive, authority: Authority, tls: dict[str, Any]
) -> None:
    """pynetdicom shakes hands where it accepts: one silent connection would stop all."""
    with archive.room(**tls, acse_timeout_s=2.0) as room:
        with socket.create_connection((LOOPBACK, room.port), timeout=10) as hanging:
            dcmtk("echoscu", room.port, *as_peer(authority))
            assert hanging.recv(1) == b""
        wait_until(lambda: room.num_connections == 0, "it is gone")


def test_pynetdicom_speaks_tls(archive: Archive, authority: Authority, tls: dict[str, Any]) -> None:
    """With the context that our own reports use: it checks the room's certificate and its address."""
    settings = archive.settings(**tls)
    with (
        archive.room(**tls) as room,
        associated(room.port, tls_args=(client_context(settings), LOOPBACK)) as association,
    ):
        assert association.is_established
        assert association.send_c_echo().Status == 0x0000


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tls_ca_file": None}, "tls_ca_file"),
        ({"tls_cert_file": Path("/nowhere/cert.pem")}, "tls_cert_file"),
        ({"tls_key_file": Path("/dev/null")}, "tls_key_file"),
        ({"tls_cert_file": None}, "tls_cert_file"),
    ],
)
def test_files_that_are_wrong_are_named(
    archive: Archive, tls: dict[str, Any], changes: dict[str, Any], named: str
) -> None:
    """Before anybody is let in without TLS by mistake."""
    with pytest.raises(SettingsError, match=named):
        server_context(archive.settings(**{**tls, **changes}))
