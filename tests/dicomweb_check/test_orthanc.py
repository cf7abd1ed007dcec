"""The checker on a real server of the field, whose faults are known."""

import pytest

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.catalogue import CATALOGUE
from hulumed_platform.dicomweb_check.runner import Outcome, Result, run
from hulumed_platform.dicomweb_check.server import Server

_KNOWN_FAULTS = {
    "stow-part-transfer-syntax": "200",
    "stow-gzip": "200",
    "stow-garbage-then-good": "400 (no Content-Type)",
    "stow-some-stored": "409",
    "stow-conflict": "200",
    "stow-empty-body": "200",
    "stow-no-part": "200",
    "stow-form-data": "200",
    "stow-uid-path": "200",
    "stow-uid-too-long": "200",
    "stow-no-last-boundary": "200",
    "stow-no-failed-sequence": "200",
    "stow-boundary-characters": "415",
    "qido-limit-negative": "500",
    "qido-unacceptable": "200",
    "wado-unacceptable": "400",
}
"""Of version 1.10.1 with its plugin 1.7, by the check that finds each, with the status it begins with."""


@pytest.fixture(scope="module")
def found(orthanc: str) -> dict[str, Result]:
    with Server(orthanc) as server:
        return {result.name: result for result in run(Bench(server, writes=True), CATALOGUE)}


@pytest.mark.parametrize(("check", "status"), _KNOWN_FAULTS.items())
def test_a_known_fault_is_found(found: dict[str, Result], check: str, status: str) -> None:
    """Each was measured on this version by hand."""
    assert found[check].outcome is Outcome.FAIL
    assert found[check].got.startswith(status)


def test_a_good_instance_that_was_stored_under_a_400_is_seen(found: dict[str, Result]) -> None:
    """The answer says that nothing was stored; the checker looks for itself."""
    assert found["stow-garbage-then-good"].got.endswith("the good one is stored")


def test_what_it_does_right_passes(found: dict[str, Result]) -> None:
    """A checker that fails everything finds every fault."""
    right = {
        "stow-all-stored", "stow-chunked", "stow-many-parts", "stow-preamble", "stow-identical-again",
        "stow-client-leaves", "qido-json", "qido-study-attributes", "qido-uid-list", "qido-limit-offset",
        "qido-wildcard-star", "wado-study", "wado-default-transfer-syntax", "wado-any-transfer-syntax",
        "wado-frames", "wado-bulkdata", "wado-rendered-jpeg", "wado-rendered-monochrome1",
    }  # fmt: skip
    assert {name for name in right if found[name].outcome is not Outcome.PASS} == set()


def test_what_it_does_not_have_is_skipped(found: dict[str, Result]) -> None:
    """It has neither worklist nor storage commitment over REST."""
    skipped = {name for name, result in found.items() if result.outcome is Outcome.SKIPPED}
    assert {name for name in found if name.startswith(("ups-", "commitment-"))} <= skipped
