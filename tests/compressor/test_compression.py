"""The compressor projects the kept tokens of a plane, and only those."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hulumed_platform.compressor.compression import Compressor
from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.compression import KeepRule
from hulumed_platform.model.projection import Projector


@pytest.fixture(scope="module")
def projector(checkpoint_dir: Path) -> Projector:
    return Checkpoint.open(checkpoint_dir).load_projector(torch.device("cpu"))


def test_kept_tokens_are_projected_in_their_order(projector: Projector) -> None:
    """What the decoder sees are the embeddings of the tokens that the mask names."""
    features = torch.randn(5, 192, generator=torch.Generator().manual_seed(0))
    novelty = np.array([0.0, 0.2, 0.1, 0.3, 0.0], np.float32)
    embeddings, kept = Compressor(projector).compress(
        features, novelty, KeepRule(), plane=1, num_planes=2, compressible=True
    )
    assert kept.tolist() == [False, True, False, True, False]
    torch.testing.assert_close(embeddings, projector(features[[1, 3]]))


def test_features_of_another_float_type_are_taken(projector: Projector) -> None:
    """An encoder on a GPU sends bfloat16, whatever the compressor computes in."""
    features = torch.randn(3, 192).bfloat16()
    embeddings, kept = Compressor(projector).compress(
        features, np.zeros(3, np.float32), KeepRule(), plane=0, num_planes=1, compressible=False
    )
    assert kept.all()
    assert embeddings.dtype is torch.float32
