"""The checker on our own gateway."""

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.catalogue import select
from hulumed_platform.dicomweb_check.runner import Outcome, run
from hulumed_platform.dicomweb_check.server import Server
from tests.gateway.conftest import RunningGateway

_NEED_MORE = {
    "stow-credentials-needed",
    "stow-retrieve-url-resolves",
    "stow-coercion-declared",
    "stow-client-leaves",
    "stow-preamble-nulled",
    "stow-kept-after-identical",
    "stow-kept-after-conflict",
}
"""They need credentials to leave out, or a way to get back what was stored."""


def test_the_store_transaction_is_checked_on_our_gateway(gateway: RunningGateway) -> None:
    """What we ask of others we ask of ourselves: nothing else may keep a check from its answer."""
    with Server(f"{gateway.url}/dicom-web") as server:
        results = run(Bench(server, writes=True), select(["stow-*"]))
    assert {result.name for result in results if result.outcome is Outcome.SKIPPED} <= _NEED_MORE
