"""Small untrained checkpoints for the test session."""

from pathlib import Path

import pytest

from hulumed_platform.model.untrained import write_untrained


@pytest.fixture(scope="session")
def checkpoint_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained checkpoint."""
    return write_untrained(tmp_path_factory.mktemp("checkpoint"), seed=1).path


@pytest.fixture(scope="session")
def other_checkpoint_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the same shape with other weights."""
    return write_untrained(tmp_path_factory.mktemp("other-checkpoint"), seed=2).path
