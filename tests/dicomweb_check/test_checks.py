"""The checks against peers in memory: a good one passes, and each fault is found by the check that is named for it."""

import re
from collections.abc import Callable

import pytest

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.catalogue import CATALOGUE, select
from hulumed_platform.dicomweb_check.runner import Outcome, Result, run
from hulumed_platform.dicomweb_check.server import Server
from hulumed_platform.dicomweb_check.service import Service
from tests.dicomweb_check.peer import Peer, Request, Response, serving
from tests.dicomweb_check.store import Store
from tests.dicomweb_check.worklist import Worklist


def outcomes(peer: Peer, *names: str, writes: bool = True) -> dict[str, Result]:
    with serving(peer) as url, Server(url) as server:
        bench = Bench(server, writes=writes)
        results = run(bench, select(names))
        bench.clean()
    return {result.name: result for result in results}


def not_passed(results: dict[str, Result]) -> dict[str, str]:
    return {name: result.got for name, result in results.items() if result.outcome is not Outcome.PASS}


def test_every_check_has_a_name_of_its_own_and_says_what_it_is() -> None:
    """Names go into scripts and tickets; a check without section is an opinion."""
    names = [check.name for check in CATALOGUE]
    assert len(set(names)) == len(names)
    for check in CATALOGUE:
        assert check.section.startswith(("PS3.", "RFC ")), check.name
        assert min(len(check.sent), len(check.expected)) > 0, check.name


STORE_CHECKS = (
    "stow-all-stored", "stow-all-stored-in-study", "stow-some-stored", "stow-good-then-garbage",
    "stow-garbage-then-good", "stow-none-stored", "stow-wrong-study", "stow-no-part", "stow-referenced-items",
    "stow-no-*-sequence", "stow-failed-items", "stow-wrong-study-reason", "stow-unreadable-part-reason",
    "stow-identical-*", "stow-kept-*", "stow-conflict*", "stow-race-*", "stow-boundary-*", "stow-client-leaves",
    "stow-study-retrieve-url", "stow-many-parts", "stow-part-*", "stow-coercion-declared",
)  # fmt: skip


def test_a_good_store_passes() -> None:
    """A checker that cries wolf is not read."""
    results = outcomes(Store(), *STORE_CHECKS)
    assert not_passed(results) == {}


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("acknowledges-and-drops", "stow-all-stored"),
        ("always-200", "stow-some-stored"),
        ("always-200", "stow-wrong-study"),
        ("always-200", "stow-none-stored"),
        ("garbage-is-500", "stow-none-stored"),
        ("empty-sequences", "stow-no-failed-sequence"),
        ("empty-sequences", "stow-no-referenced-sequence"),
        ("reason-missing", "stow-failed-items"),
        ("warning-as-failure", "stow-wrong-study-reason"),
        ("identical-refused", "stow-identical-again"),
        ("deletes-what-comes-twice", "stow-kept-after-identical"),
        ("conflict-silent", "stow-conflict"),
    ],
)
def test_a_fault_of_a_store_is_found(fault: str, check: str) -> None:
    """Each of them was seen in a real server."""
    assert outcomes(Store(fault), check)[check].outcome is Outcome.FAIL


WORKLIST_CHECKS = ("ups-*", "commitment-*")


@pytest.mark.parametrize("fault", ["", "takes-time"])
def test_a_good_worklist_passes(fault: str) -> None:
    """Storage commitment may take time: the result is polled."""
    names = WORKLIST_CHECKS if not fault else ("commitment-stored", "commitment-result-check")
    assert not_passed(outcomes(Worklist(fault), *names)) == {}


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("no-location", "ups-create"),
        ("create-again", "ups-create-again"),
        ("create-anything", "ups-create-no-label"),
        ("create-anything", "ups-create-in-progress"),
        ("key-shown", "ups-transaction-uid-hidden"),
        ("one-parameter", "ups-update-parameter-transaction"),
        ("update-without-key", "ups-update-key-missing"),
        ("update-without-key", "ups-update-key-wrong"),
        ("everybody-wins", "ups-claim-race"),
        ("no-warning", "ups-state-key-missing"),
        ("completes-anything", "ups-complete-unperformed"),
        ("cancel-completed", "ups-cancel-request-completed"),
        ("search-url", "ups-search-retrieve-url"),
        ("unsubscribe-anything", "ups-unsubscribe-unknown"),
        ("commits-anything", "commitment-unknown"),
        ("commits-anything", "commitment-wrong-class"),
        ("transaction-again", "commitment-transaction-again"),
    ],
)
def test_a_fault_of_a_worklist_is_found(fault: str, check: str) -> None:
    """Two performers of one workitem, or a commitment that is none, cost a patient more than a wrong header."""
    assert outcomes(Worklist(fault), check)[check].outcome is Outcome.FAIL


def test_what_is_not_offered_is_skipped() -> None:
    """A store without worklist does not fail at worklists."""
    results = outcomes(Store(), "stow-all-stored", "ups-create", "qido-json", "commitment-stored")
    assert results["stow-all-stored"].outcome is Outcome.PASS
    skipped = [name for name, result in results.items() if result.outcome is Outcome.SKIPPED]
    assert skipped == ["qido-json", "ups-create", "commitment-stored"]
    assert "404" in results["ups-create"].got


def test_nothing_is_stored_without_permission() -> None:
    """The server may be a hospital's own: only requests without content go out."""
    bodies: list[bytes] = []

    def watching(request: Request) -> Response:
        bodies.append(request.body)
        return Response(200, [])

    results = outcomes(watching, "*", writes=False)
    assert set(bodies) <= {b"", b"[{}]"}
    ran = {name for name, result in results.items() if result.outcome is not Outcome.SKIPPED}
    assert ran == {check.name for check in CATALOGUE if not check.writes} - {"qido-credentials-needed"}


def test_what_was_stored_is_deleted_where_that_can_be() -> None:
    """A check must not fill a server that lets itself be cleaned; a UID that is missing or a path deletes nothing."""
    deleted: list[str] = []

    def cleanable(request: Request, store: Callable[[Request], Response] = Store()) -> Response:  # noqa: B008
        if request.method == "DELETE":
            deleted.append(request.path)
            return Response(204)
        return store(request)

    outcomes(cleanable, "stow-all-stored", "stow-no-study-uid", "stow-study-uid-path")
    assert len(deleted) == 3
    assert all(re.fullmatch(r"/studies/2\.25\.\d+", path) for path in deleted)


def test_another_host_is_not_followed() -> None:
    """Credentials of one server must not go to the address that it names; the check warns."""
    results = outcomes(Store(), "stow-retrieve-url-resolves")
    assert results["stow-retrieve-url-resolves"].outcome is Outcome.WARN
    assert "elsewhere.example" in results["stow-retrieve-url-resolves"].got


def test_services_without_answer_to_speak_of_fail_and_do_not_end_the_run() -> None:
    """A proxy may answer with a page of its own, in any shape."""
    results = outcomes(lambda _: Response(200, ["no", "data set"]), "stow-all-stored", "qido-json", "wado-instance")
    assert {result.outcome for result in results.values()} <= {Outcome.FAIL, Outcome.SKIPPED}
    assert {result.service for result in results.values()} == {Service.STOW, Service.QIDO, Service.WADO}


def test_a_server_that_takes_nothing_fails_and_does_not_end_the_run() -> None:
    """The data for searches and retrievals cannot be stored then: those checks are skipped, with that reason."""
    full = lambda request: Response(503 if request.method in ("POST", "DELETE") else 204)  # noqa: E731
    results = outcomes(full, "stow-all-stored", "qido-json", "wado-instance")
    assert {name: result.outcome for name, result in results.items()} == {
        "stow-all-stored": Outcome.FAIL,
        "qido-json": Outcome.SKIPPED,
        "wado-instance": Outcome.SKIPPED,
    }
    assert "cannot be stored: 503" in results["qido-json"].got
