"""The chain under callers that leave, hurry, flood or dawdle: bounded, and well again afterwards.

The rooms run on threads of this process, so their metrics are summed here: gauges count the requests of all four.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.rpc.clients import GenerateStream
from hulumed_platform.rpc.v1 import decoder_pb2, media_pb2, stage_pb2
from tests.imaging import samples
from tests.support.chain import TENANT, Chain, chain_in_process
from tests.support.questions import hear, medium, question

ACTIVE = "hulumed_requests_active"
WAITING = "hulumed_requests_waiting"


@pytest.fixture(scope="module")
def narrow(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Rooms that work on one request at a time and let one wait."""
    one = {"max_active": 1, "max_waiting": 1}
    overrides = {"ingest": one, "encoder": one, "compressor": one, "decoder": {"max_active": 2, "max_waiting": 2}}
    with chain_in_process(checkpoint_dir, tmp_path_factory.mktemp("narrow"), overrides) as started:
        yield started


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume of 600 slices, each of which the planner leaves at 26 tokens."""
    voxels = np.random.default_rng(0).integers(0, 400, (140, 140, 600)).astype(np.int16)
    return samples.nifti(tmp_path_factory.mktemp("study") / "volume.nii", voxels)


def sample(metric: str) -> float:
    value = REGISTRY.get_sample_value(metric)
    assert value is not None
    return value


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


def long_question(chain: Chain, study: Path, **sampling: object) -> decoder_pb2.GenerateRequest:
    return question(medium(chain.store(study), num_planes=600), "What is this?", **sampling)  # type: ignore[arg-type]


def stage_request(chain: Chain, study: Path) -> stage_pb2.StageRequest:
    media = [media_pb2.MediaRef(objects=chain.store(study), options=media_pb2.PrepareOptions(num_planes=600))]
    return stage_pb2.StageRequest(tenant=TENANT, media=media)


def test_leaving_while_planes_stream_stops_all_stages(chain: Chain, study: Path) -> None:
    """All four are at work on a study nobody waits for any more: within a second none is."""
    stream = chain.decoder.generate(long_question(chain, study), timeout_s=60)
    next(iter(stream))
    assert sample(ACTIVE) == 4
    stream.cancel()
    assert within(1.0, lambda: sample(ACTIVE) == 0)
    assert within(1.0, lambda: sample("hulumed_planes_ahead") == sample("hulumed_patches_queued") == 0)


def test_leaving_while_the_answer_is_drawn_frees_the_decoder(chain: Chain) -> None:
    """An abandoned answer of thousands of tokens does not keep its place."""
    stream = chain.decoder.generate(question("Go on.", max_new_tokens=4000), timeout_s=60)
    events = iter(stream)
    for _ in range(3):
        next(events)
    stream.cancel()
    assert within(1.0, lambda: sample(ACTIVE) == 0)


def test_leaving_before_the_first_plane_gives_the_place_up(narrow: Chain, study: Path) -> None:
    """A request that still waits for a full ingest goes away with its caller, in all four rooms."""
    with narrow.stage("ingest").stream(stage_request(narrow, study), timeout_s=60):
        stream = narrow.decoder.generate(long_question(narrow, study), timeout_s=60)
        listener = threading.Thread(target=_listen_in_vain, args=(stream,))
        listener.start()
        assert within(5, lambda: sample(WAITING) == 1)
        assert sample(ACTIVE) == 4, "ingest's slow reader, and three stages that wait for ingest"
        stream.cancel()
        assert within(1.0, lambda: sample(ACTIVE) == 1 and sample(WAITING) == 0)
        listener.join(5)
    assert within(2.0, lambda: sample(ACTIVE) == 0)


def test_deadline_runs_down_the_chain(narrow: Chain, study: Path) -> None:
    """The caller's time is every stage's time: when it is over, none works on, and the caller is told which it was."""
    with narrow.stage("ingest").stream(stage_request(narrow, study), timeout_s=60):
        started = time.monotonic()
        with pytest.raises(PlatformError) as caught:
            hear(narrow.decoder.generate(long_question(narrow, study), timeout_s=0.7))
        assert caught.value.code is ErrorCode.DEADLINE
        assert 0.5 < time.monotonic() - started < 2.0
        assert within(1.0, lambda: sample(ACTIVE) == 1 and sample(WAITING) == 0)
    assert within(2.0, lambda: sample(ACTIVE) == 0)


def test_deadline_ends_a_long_answer(chain: Chain) -> None:
    """Also where only the decoder works."""
    with pytest.raises(PlatformError) as caught:
        hear(chain.decoder.generate(question("Go on.", max_new_tokens=4000), timeout_s=0.5))
    assert caught.value.code is ErrorCode.DEADLINE
    assert within(1.0, lambda: sample(ACTIVE) == 0)


def test_full_stage_makes_the_next_wait_and_then_serves_it(narrow: Chain, study: Path) -> None:
    """Ingest works on one request: the second is not refused, it begins when the first has ended."""
    request = question(medium(narrow.store(study), num_planes=2), "What is this?")
    with ThreadPoolExecutor(1) as pool:
        with narrow.stage("ingest").stream(stage_request(narrow, study), timeout_s=60):
            answer = pool.submit(lambda: hear(narrow.decoder.generate(request, timeout_s=60)))
            assert within(5, lambda: sample(WAITING) == 1)
            time.sleep(0.2)
            assert not answer.done()
        assert answer.result(timeout=30).finished.finish_reason == "length"


def test_flood_is_refused_and_then_forgotten(narrow: Chain) -> None:
    """Two work, two wait, all others are told to come again at once; afterwards everything is served."""

    def ask() -> str:
        try:
            hear(narrow.decoder.generate(question("Go on.", max_new_tokens=150), timeout_s=60))
        except PlatformError as error:
            return f"{error.code.value}, retryable {error.retryable}"
        return "answered"

    with ThreadPoolExecutor(12) as pool:
        outcomes = [future.result() for future in [pool.submit(ask) for _ in range(12)]]
    assert outcomes.count("answered") >= 4
    assert set(outcomes) == {"answered", "busy, retryable True"}
    assert ask() == "answered"


@pytest.mark.parametrize(("room", "stages"), [("ingest", 1), ("compressor", 3)])
def test_slow_reader_holds_the_study_up_and_not_in_memory(chain: Chain, study: Path, room: str, stages: int) -> None:
    """A stage whose reader stops stops too, and with it those before: most of 600 planes are not even decoded."""
    before = sample("hulumed_planes_total")
    with chain.stage(room).stream(stage_request(chain, study), timeout_s=60) as stream:
        next(iter(stream))
        settled = _settled(lambda: sample("hulumed_planes_total"))
        assert settled - before < 360 * stages
    assert within(1.0, lambda: sample(ACTIVE) == 0)


def _listen_in_vain(stream: GenerateStream) -> None:
    with pytest.raises(PlatformError):
        list(stream)


def _settled(value: Callable[[], float]) -> float:
    """The value once it stays the same for a while."""
    last, since = value(), time.monotonic()
    while time.monotonic() - since < 0.7:
        time.sleep(0.05)
        if value() != last:
            last, since = value(), time.monotonic()
    return last
