"""Checkpoints that the tests of the model share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.config import Family
from hulumed_platform.model.pipeline import HuluMed
from hulumed_platform.model.untrained import write_untrained

GOLDENS = Path(__file__).parents[1] / "data" / "goldens"


@pytest.fixture(params=["q2", "q3"])
def golden_dir(request: pytest.FixtureRequest) -> Path:
    """A recorded run of the published code, for each decoder."""
    return GOLDENS / str(request.param)


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A small checkpoint with random weights."""
    return write_untrained(tmp_path_factory.mktemp("untrained"), seed=0)


@pytest.fixture(scope="session", params=list(Family))
def hulumed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HuluMed]:
    """The whole model with random weights, for each decoder."""
    model = HuluMed.load(write_untrained(tmp_path_factory.mktemp("model"), seed=1, decoder=request.param).path)
    yield model
    model.close()
