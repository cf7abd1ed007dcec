"""The keep rule: what it was meant to be, what was published, and nothing."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from hulumed_platform.model.compression import KeepRule, Policy

Novelty = NDArray[np.float32]
NOVELTY = npst.arrays(np.float32, st.integers(1, 40), elements=st.floats(0, 2, width=32))


@given(novelty=NOVELTY, threshold=st.floats(0, 2), min_tokens=st.integers(1, 5))
def test_first_plane_is_whole_and_no_plane_vanishes(novelty: Novelty, threshold: float, min_tokens: int) -> None:
    rule = KeepRule(threshold=threshold, min_tokens=min_tokens)
    assert rule.keep(novelty, plane=0, num_planes=3, compressible=True).all()
    kept = rule.keep(novelty, plane=1, num_planes=3, compressible=True)
    assert kept.sum() >= min(min_tokens, len(novelty))
    assert kept[novelty > np.float32(threshold)].all()


def test_threshold_must_be_exceeded() -> None:
    """Published: strictly greater than 0.1; a plane without new tokens keeps its top left one."""
    novelty = np.array([0.05, 0.1, 0.11, 0.2], dtype=np.float32)
    assert KeepRule().keep(novelty, plane=1, num_planes=2, compressible=True).tolist() == [False, False, True, True]
    still = np.zeros(4, dtype=np.float32)
    assert KeepRule().keep(still, plane=1, num_planes=2, compressible=True).tolist() == [True, False, False, False]


@given(novelty=NOVELTY)
def test_upstream_cuts_the_first_plane_alone(novelty: Novelty) -> None:
    """The defect: the first plane's score is divided by 255. All later planes are as meant."""
    upstream, meant = KeepRule(Policy.UPSTREAM), KeepRule(Policy.HULUMED)
    assert upstream.keep(novelty, plane=0, num_planes=2, compressible=True).tolist() == [True] + [False] * (
        len(novelty) - 1
    )
    later = [rule.keep(novelty, plane=1, num_planes=2, compressible=True).tolist() for rule in (upstream, meant)]
    assert later[0] == later[1]


@pytest.mark.parametrize("policy", Policy)
@given(novelty=NOVELTY)
def test_images_and_single_planes_are_never_pruned(policy: Policy, novelty: Novelty) -> None:
    rule = KeepRule(policy)
    assert rule.keep(novelty, plane=3, num_planes=9, compressible=False).all()
    assert rule.keep(novelty, plane=0, num_planes=1, compressible=True).all()


@given(novelty=NOVELTY)
def test_none_keeps_everything(novelty: Novelty) -> None:
    assert KeepRule(Policy.NONE).keep(novelty, plane=5, num_planes=9, compressible=True).all()


def test_the_novelty_given_is_not_written_to() -> None:
    """It may be a view of a message."""
    novelty = np.zeros(4, dtype=np.float32)
    novelty.flags.writeable = False
    for plane in (0, 1):
        KeepRule().keep(novelty, plane=plane, num_planes=2, compressible=True)


@pytest.mark.parametrize("module", ["compression", "prompt", "errors", "engine.base"])
def test_light_modules_import_without_torch(module: str) -> None:
    """The gateway and ingest plan prompts and tokens in images without torch."""
    code = f"import sys; sys.modules['torch'] = None; import hulumed_platform.model.{module}"
    subprocess.run([sys.executable, "-c", code], check=True)
