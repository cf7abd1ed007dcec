"""Hot reload: a good file counts at once, a broken one changes nothing and is told."""

import logging
import os
from pathlib import Path

import pytest

from hulumed_platform.archive.rules.load import read_rules
from hulumed_platform.archive.rules.reload import LiveRules
from hulumed_platform.core.errors import PlatformError

FIRST = "rules: [{name: first, when: true, prompt: {text: x}}]"
SECOND = FIRST.replace("first", "other")  # of the same size


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A rules file."""
    file = tmp_path / "rules.yaml"
    file.write_text(FIRST)
    return file


def names(live: LiveRules) -> list[str]:
    return [rule.name for rule in live.refresh().rules]


def test_a_changed_file_counts_at_once(path: Path) -> None:
    """Also one that has the size and the time of the file before, as mounted volumes and quick editors leave it."""
    live = LiveRules(read_rules(path), path)
    before = path.stat()
    path.write_text(SECOND)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert names(live) == ["other"]
    live.check()


def test_a_broken_file_changes_nothing_and_is_told_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The rules before count on, readiness names line and reason, the log says it once, and a good file ends it."""
    live = LiveRules(read_rules(path), path)
    path.write_text("rules:\n- name: x\n")
    with caplog.at_level(logging.ERROR):
        assert names(live) == names(live) == ["first"]
    assert len(caplog.records) == 1
    assert live.broken
    with pytest.raises(PlatformError, match=r"line 2: rules\.1\.prompt: Field required"):
        live.check()
    path.write_text(FIRST)  # back to what counts anyway
    assert names(live) == ["first"]
    live.check()
    assert not live.broken


def test_a_file_that_goes_away_changes_nothing(path: Path) -> None:
    """An editor that writes by rename leaves a moment without a file."""
    live = LiveRules(read_rules(path), path)
    path.unlink()
    assert names(live) == ["first"]
    with pytest.raises(PlatformError, match="cannot be read"):
        live.check()
    path.write_text(SECOND)
    assert names(live) == ["other"]
