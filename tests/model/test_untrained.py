"""The demo's weights: plainly labelled, the same for everyone, in the published layout."""

from pathlib import Path

import pytest

from hulumed_platform.model.config import Family
from hulumed_platform.model.inspect import inspect
from hulumed_platform.model.untrained import write_untrained
from hulumed_platform.model.weights import Layout


@pytest.mark.parametrize("family", Family)
def test_it_is_a_complete_checkpoint_that_says_what_it_is(tmp_path: Path, family: Family) -> None:
    checkpoint = write_untrained(tmp_path / "new" / "folder", seed=3, decoder=family)
    report = inspect(checkpoint.path)
    assert (checkpoint.label, checkpoint.trained) == ("untrained", False)
    assert report.complete
    assert report.manifest_matches
    assert (report.layout, report.family) == (Layout.SINGLE, family)


def test_equal_seeds_write_equal_bytes(tmp_path: Path) -> None:
    """Everyone's demo says the same."""
    folders = [write_untrained(tmp_path / str(n), seed=seed).path for n, seed in enumerate((5, 5, 6))]
    first, same, other = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert first == same
    assert first != other


def test_shards_hold_the_same_weights(tmp_path: Path) -> None:
    one, three = write_untrained(tmp_path / "1", seed=5), write_untrained(tmp_path / "3", seed=5, num_shards=3)
    assert one.digests() == three.digests()
    assert len(three.weights.files) == 3
