"""The local directory: what survives a crash, and what a broken disk says."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.local import LocalObjects
from hulumed_platform.storage.spool import SpoolFile

ENDLESS_PUT = """
import sys
from pathlib import Path
from hulumed_platform.storage.local import LocalObjects

def endless():
    while True:
        yield b"x" * 1000
        print("written", flush=True)

LocalObjects(Path(sys.argv[1])).put("acme", endless())
"""


def test_a_put_that_is_killed_is_no_object(tmp_path: Path) -> None:
    """An object is there whole or not at all; the half one stays where nothing reads it."""
    with subprocess.Popen([sys.executable, "-c", ENDLESS_PUT, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    objects = LocalObjects(tmp_path)
    assert list(objects.list("acme")) == []
    assert list(tmp_path.glob("acme/**/*")) == []
    assert len(list((tmp_path / ".spool").iterdir())) == 1

    now = datetime.now(UTC)
    assert objects.remove_unfinished(now - timedelta(hours=1)) == 0
    assert objects.remove_unfinished(now + timedelta(hours=1)) == 1
    assert list((tmp_path / ".spool").iterdir()) == []


def test_the_content_is_synced_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Acknowledged means on disk: file, then name, then every new folder's name, in an order that power loss allows."""
    objects = LocalObjects(tmp_path)
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def traced_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        calls.append(f"sync {path.relative_to(tmp_path)}" if path.is_dir() else "sync content")
        fsync(descriptor)

    def traced_replace(path: Path, target: Path) -> Path:
        calls.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(Path, "replace", traced_replace)
    stored = objects.put("acme", [b"x"])
    made = ["sync .", "sync acme", "sync acme/sha256"]  # the folders that got a new name inside
    assert calls == [*made, "sync content", "rename", f"sync acme/sha256/{stored.digest[7:9]}"]


def test_objects_survive_reopening(tmp_path: Path) -> None:
    """Another process, or the same after a restart, finds them."""
    stored = LocalObjects(tmp_path).put("acme", [b"kept"])
    assert LocalObjects(tmp_path).read("acme", stored.digest) == b"kept"


def test_materialise_copies_nothing(tmp_path: Path) -> None:
    """A large volume is read where it lies."""
    objects = LocalObjects(tmp_path / "objects")
    stored = objects.put("acme", [b"volume"])
    assert objects.materialise("acme", stored.digest, tmp_path / "work").is_relative_to(tmp_path / "objects")
    assert not (tmp_path / "work").exists()


def test_a_full_disk_is_unavailable_and_retryable() -> None:
    """`/dev/full` is a disk without space; the message says what the operator does, and no path."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(PlatformError, match="ENOSPC") as caught:
            SpoolFile(descriptor, Path("/dev/full")).write([b"x"])
    finally:
        os.close(descriptor)
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert caught.value.retryable


def test_a_folder_that_went_away_fails_the_check(tmp_path: Path) -> None:
    """Readiness notices a volume that is no longer mounted."""
    objects = LocalObjects(tmp_path / "objects")
    (tmp_path / "objects" / ".spool").rmdir()
    (tmp_path / "objects").rmdir()
    with pytest.raises(PlatformError) as caught:
        objects.check()
    assert caught.value.code is ErrorCode.UNAVAILABLE
    with pytest.raises(PlatformError, match="ENOENT"):
        objects.put("acme", [b"x"])


def test_a_root_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(PlatformError, match=r"EEXIST|ENOTDIR"):
        LocalObjects(tmp_path / "taken")
