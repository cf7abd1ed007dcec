"""S3: what goes wrong between us and a real server."""

import socketserver
import threading
from pathlib import Path

import pytest

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.s3 import S3Objects
from tests.storage.conftest import s3_objects
from tests.support.processes import free_ports
from tests.support.s3 import S3Server

ABSENT = f"sha256:{'0' * 64}"


def test_nobody_listens(tmp_path: Path) -> None:
    """Unreachable is retryable: nothing is lost and the sender may come again."""
    (port,) = free_ports(1)
    objects = S3Objects(endpoint=f"127.0.0.1:{port}", bucket="bucket", secure=False)
    for ask in (objects.check, lambda: objects.put("acme", [b"x"]), lambda: list(objects.list("acme"))):
        with pytest.raises(PlatformError, match="cannot be reached") as caught:
            ask()
        assert (caught.value.code, caught.value.retryable) == (ErrorCode.UNAVAILABLE, True)


def test_wrong_keys_are_not_tried_again(s3_server: S3Server) -> None:
    """The operator must act; the message holds neither key."""
    objects = s3_objects(s3_server, secret_key="wrong")
    with pytest.raises(PlatformError, match="keys") as caught:
        objects.put("acme", [b"x"])
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.UNAVAILABLE, False)
    assert "wrong" not in str(caught.value)


def test_a_missing_bucket_fails_the_check(s3_server: S3Server) -> None:
    """Readiness says what is to be made."""
    with pytest.raises(PlatformError, match="bucket"):
        s3_objects(s3_server, bucket="no-such-bucket").check()


def test_prefixes_share_a_bucket(s3_server: S3Server) -> None:
    """Two platforms in one bucket do not see each other."""
    ours, theirs = s3_objects(s3_server, prefix="one/deep"), s3_objects(s3_server, prefix="two")
    stored = ours.put("acme", [b"ours"])
    assert [listed.digest for listed in ours.list("acme")] == [stored.digest]
    assert not theirs.exists("acme", stored.digest)


def test_materialise_downloads_once(s3_server: S3Server, tmp_path: Path) -> None:
    """The copy is whole or not there, apart for each tenant, and used again."""
    objects = s3_objects(s3_server, prefix="once")
    stored = objects.put("acme", [b"volume"])
    path = objects.materialise("acme", stored.digest, tmp_path)
    objects.delete("acme", stored.digest)
    assert objects.materialise("acme", stored.digest, tmp_path) == path
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]
    with pytest.raises(PlatformError, match="No object"):
        objects.materialise("other", stored.digest, tmp_path)


def test_other_content_under_a_digest_is_refused(s3_server: S3Server, tmp_path: Path) -> None:
    """A store that was tampered with, or rotted, does not become a study."""
    objects = s3_objects(s3_server, prefix="rot")
    stored = objects.put("acme", [b"right"])
    key = f"rot/acme/sha256/{stored.digest[7:9]}/{stored.digest[7:]}"
    (tmp_path / "bad").write_bytes(b"wrong")
    objects._client.fput_object(s3_server.bucket, key, str(tmp_path / "bad"))
    with pytest.raises(PlatformError, match="other content") as caught:
        objects.materialise("acme", stored.digest, tmp_path / "work")
    assert caught.value.code is ErrorCode.INTERNAL
    assert not any(found.is_file() for found in (tmp_path / "work").rglob("*"))


class CutOff(socketserver.StreamRequestHandler):
    """Promises a hundred bytes, sends ten and hangs up."""

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 10)


def test_a_body_that_is_cut_off_is_no_short_object(tmp_path: Path) -> None:
    """A connection lost half-way is an error of the store, never a file with an early end."""
    with socketserver.TCPServer(("127.0.0.1", 0), CutOff) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        objects = S3Objects(endpoint=f"127.0.0.1:{server.server_address[1]}", bucket="bucket", secure=False)
        for ask in (lambda: objects.read("acme", ABSENT), lambda: objects.materialise("acme", ABSENT, tmp_path)):
            with pytest.raises(PlatformError, match="cannot be reached"):
                ask()
        server.shutdown()
    assert not any(found.is_file() for found in tmp_path.rglob("*"))
