"""An empty archive for every test, and associations that are closed after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dimse import Archive, open_archive


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """An empty archive."""
    with open_archive(tmp_path) as opened:
        yield opened
