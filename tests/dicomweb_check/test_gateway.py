"""The checker on our own gateway."""

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.catalogue import select
from hulumed_platform.dicomweb_check.runner import Outcome, run
from hulumed_platform.dicomweb_check.server import Server
from tests.gateway.conftest import RunningGateway

_NEED_CREDENTIALS = {"qido-credentials-needed", "stow-credentials-needed"}
_WARNED = {"stow-preamble-nulled"}
"""We keep instances byte for byte, and say so in the conformance statement."""


def test_our_gateway_passes_every_check(gateway: RunningGateway) -> None:
    """What we ask of others we ask of ourselves, of every service."""
    with Server(f"{gateway.url}/dicom-web") as server:
        results = run(Bench(server, writes=True), select(["*"]))
    assert [f"{result.name}: {result}" for result in results if result.outcome is Outcome.FAIL] == []
    assert {result.name for result in results if result.outcome is Outcome.WARN} <= _WARNED
    assert {result.name for result in results if result.outcome is Outcome.SKIPPED} <= _NEED_CREDENTIALS
