"""Four rooms, each its own process, give the very answer of the model in one process, and say what it stands on."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.imaging.prepare import PREPROCESSING_VERSION, Preparation
from hulumed_platform.imaging.types import Kind
from hulumed_platform.model.compression import KeepRule
from hulumed_platform.model.engine.base import Sampling
from hulumed_platform.model.pipeline import HuluMed
from hulumed_platform.model.prompt import MediaPart, Message, TextPart
from hulumed_platform.rpc import codec
from hulumed_platform.rpc.v1 import decoder_pb2
from hulumed_platform.rpc.v1.media_pb2 import MediaRef
from tests.imaging import samples
from tests.support.chain import ROOMS, Chain
from tests.support.collector import Collector, Span
from tests.support.questions import hear, medium, question

TEXT = "What does this show? <image> stays text."


@pytest.fixture(scope="module")
def model(checkpoint_dir: Path) -> Iterator[HuluMed]:
    loaded = HuluMed.load(checkpoint_dir)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """One medium of each kind: a picture, a CT series, a brain-like volume, a film."""
    folder = tmp_path_factory.mktemp("media")
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (70, 98, 3), dtype=np.uint8)
    voxels = np.repeat(random.integers(0, 400, (42, 42, 5)), 2, axis=2).astype(np.int16)
    positions_mm = [10.0, 0.0, 5.0, 15.0]
    return {
        "image": [samples.picture(folder / "picture.png", pixels)],
        "series": samples.ct_series(folder, positions_mm),
        "volume": [samples.nifti(folder / "volume.nii.gz", voxels)],
        "video": [samples.video(folder / "film.mp4")],
    }


CASES = [(), ("image",), ("series",), ("volume",), ("video",), ("volume", "image", "series")]


@dataclass(frozen=True)
class Expected:
    """What the model in one process says."""

    deltas: list[tuple[str, int]]
    kept: list[list[int]]
    """Tokens kept of each plane, by item."""


def expected(
    model: HuluMed,
    media: list[list[Path]],
    scratch: Path,
    sampling: Sampling,
    rule: KeepRule = KeepRule(),  # noqa: B008
) -> Expected:
    preparation = _prepared(media, scratch)
    parts: list[MediaPart | TextPart] = [*(MediaPart(index) for index in range(len(media))), TextPart(TEXT)]
    steps = model.generate([Message("user", tuple(parts))], preparation, rule, sampling)
    kept: list[list[int]] = [[] for _ in preparation.items]
    for visual in model.visual_tokens(preparation, rule):
        kept[visual.item].append(int(visual.kept.sum()))
    return Expected([(step.text, len(step.token_ids)) for step in steps], kept)


def _prepared(media: list[list[Path]], scratch: Path) -> Preparation:
    return samples.prepared(*(samples.media(paths) for paths in media), scratch=scratch)


@pytest.mark.parametrize("kinds", CASES, ids=lambda kinds: "+".join(kinds) or "text")
def test_chain_equals_the_model_in_one_process(
    process_chain: Chain, model: HuluMed, files: dict[str, list[Path]], kinds: tuple[str, ...], tmp_path: Path
) -> None:
    """Token for token, greedy and sampled, whatever is asked about; the evidence is what the model kept."""
    media = [files[kind] for kind in kinds]
    parts: list[str | MediaRef] = [*(medium(process_chain.store(*paths)) for paths in media), TEXT]
    greedy = hear(process_chain.decoder.generate(question(*parts), timeout_s=60))
    sampled = hear(process_chain.decoder.generate(question(*parts, temperature=1.2, top_p=0.9, seed=7), timeout_s=60))
    want = expected(model, media, tmp_path, Sampling(12))
    assert greedy.deltas == want.deltas
    assert [list(item.kept) for item in greedy.provenance.items] == want.kept
    assert sampled.deltas == expected(model, media, tmp_path, Sampling(12, 1.2, top_p=0.9, seed=7)).deltas
    assert sampled.deltas != greedy.deltas


def test_media_stand_in_the_prompt_where_they_are_placed(
    process_chain: Chain, model: HuluMed, files: dict[str, list[Path]], tmp_path: Path
) -> None:
    """The order of `media` in the request means nothing: planes come in the order of the prompt, named as sent."""
    request = question(
        medium(process_chain.store(*files["volume"])), medium(process_chain.store(*files["image"])), TEXT
    )
    request.messages[0].parts[0].media, request.messages[0].parts[1].media = 1, 0
    answer = hear(process_chain.decoder.generate(request, timeout_s=60))
    assert answer.deltas == expected(model, [files["image"], files["volume"]], tmp_path, Sampling(12)).deltas
    assert [item.media for item in answer.started.items] == [1, 0]
    plan = process_chain.decoder.plan(request, timeout_s=60)
    assert [item.media for item in plan.items] == [1, 0]


@pytest.mark.parametrize("policy", ["POLICY_HULUMED", "POLICY_UPSTREAM", "POLICY_NONE"])
def test_plan_is_what_then_happens(process_chain: Chain, files: dict[str, list[Path]], policy: str) -> None:
    """Users are told the cost before any GPU works: planes, tokens before and after, prompt tokens are exact."""
    request = question(
        medium(process_chain.store(*files["volume"])), medium(process_chain.store(*files["image"])), TEXT
    )
    request.keep.policy = policy  # type: ignore[assignment]
    plan = process_chain.decoder.plan(request, timeout_s=60)
    answer = hear(process_chain.decoder.generate(request, timeout_s=60))
    usage = answer.provenance.usage
    assert (plan.visual_tokens_before, plan.visual_tokens_after, plan.prompt_tokens) == (
        usage.visual_tokens_before,
        usage.visual_tokens_after,
        usage.prompt_tokens,
    )
    assert list(plan.items) == list(answer.provenance.items)
    assert plan.max_context_tokens > plan.prompt_tokens


def test_provenance_is_complete(process_chain: Chain, files: dict[str, list[Path]]) -> None:
    """An answer can be traced to slices and weights, and computed again."""
    request = question(medium(process_chain.store(*files["series"]), num_planes=3), TEXT, temperature=1.0)
    answer = hear(process_chain.decoder.generate(request, timeout_s=60))
    provenance = answer.provenance
    assert [report.stage for report in provenance.stages] == list(ROOMS)
    assert all(report.wall_s >= report.busy_s >= 0 and report.planes == 3 for report in provenance.stages)
    digests = {provenance.checkpoint_digest, provenance.encoder_digest, provenance.projector_digest}
    assert len(digests | {provenance.decoder_digest, provenance.content_key}) == 5
    assert (provenance.model_label, provenance.model_trained) == ("untrained", False)
    assert (provenance.engine, provenance.preprocessing_version) == ("transformers", PREPROCESSING_VERSION)
    assert 0 < provenance.first_token_s <= provenance.total_s
    (item,) = provenance.items
    assert all(plane.sop_instance_uid and plane.digest for plane in item.planes)
    evidence = [
        int(codec.unpack_bits(plane.kept_bits, item.height * item.width // 4).sum())
        for plane in answer.finished.evidence
    ]
    assert evidence == list(item.kept)
    again = question(medium(request.media[0].objects, num_planes=3), TEXT)
    again.sampling.CopyFrom(provenance.sampling)
    replayed = hear(process_chain.decoder.generate(again, timeout_s=60))
    assert replayed.text == answer.text, "the seed that was drawn stands in the provenance"
    assert replayed.provenance.content_key == provenance.content_key


def test_content_key_names_all_that_the_tensors_depend_on(process_chain: Chain, files: dict[str, list[Path]]) -> None:
    """Equal keys must mean equal tensors: another window, rule or order is another key."""
    series, image = process_chain.store(*files["series"]), process_chain.store(*files["image"])
    questions = [
        question(medium(series), TEXT),
        question(medium(series, window={"center": 40, "width": 400}), TEXT),
        question(medium(series, num_planes=2), TEXT),
        question(medium(series), medium(image), TEXT),
        question(medium(image), medium(series), TEXT),
    ]
    strict = question(medium(series), TEXT)
    strict.keep.threshold = 0.5
    keys = [
        hear(process_chain.decoder.generate(one, timeout_s=60)).provenance.content_key for one in [*questions, strict]
    ]
    assert len(set(keys)) == len(keys)
    assert hear(process_chain.decoder.generate(questions[0], timeout_s=60)).provenance.content_key == keys[0]


def test_concurrent_requests_all_stream(process_chain: Chain, files: dict[str, list[Path]]) -> None:
    """None waits for another's end: every answer has begun before the first one is complete."""
    objects = process_chain.store(*files["image"])
    together = threading.Barrier(8)

    def times() -> tuple[float, float]:
        together.wait()
        request = question(medium(objects), TEXT, max_new_tokens=60)
        at = [
            time.monotonic()
            for event in process_chain.decoder.generate(request, timeout_s=60)
            if event.HasField("delta")
        ]
        return at[0], at[-1]

    with ThreadPoolExecutor(8) as pool:
        spans = [future.result() for future in [pool.submit(times) for _ in range(8)]]
    assert max(first for first, _ in spans) < min(last for _, last in spans)


def test_concurrent_answers_equal_the_model_in_one_process(
    process_chain: Chain, model: HuluMed, files: dict[str, list[Path]], tmp_path: Path
) -> None:
    """Also where planes of several requests share a batch of the encoder, and all take turns in the decoder."""
    questions = [CASES[index % len(CASES)] for index in range(8)]
    wants = {kinds: expected(model, [files[kind] for kind in kinds], tmp_path, Sampling(12)).deltas for kinds in CASES}
    together = threading.Barrier(len(questions))

    def ask(kinds: tuple[str, ...]) -> list[tuple[str, int]]:
        parts: list[str | MediaRef] = [*(medium(process_chain.store(*files[kind])) for kind in kinds), TEXT]
        together.wait()
        return hear(process_chain.decoder.generate(question(*parts), timeout_s=60)).deltas

    with ThreadPoolExecutor(len(questions)) as pool:
        assert list(pool.map(ask, questions)) == [wants[kinds] for kinds in questions]


def test_one_trace_crosses_all_rooms(process_chain: Chain, collector: Collector, files: dict[str, list[Path]]) -> None:
    """An operator sees one request as one trace, each stage's own work in it, and no patient data."""
    request = question(medium(process_chain.store(*files["series"])), TEXT)
    seen = {span.trace_id for span in collector.spans}
    hear(process_chain.decoder.generate(request, timeout_s=60))
    spans = _spans_of_new_trace(collector, seen)
    assert {span.room for span in spans if span.name == f"{span.room} work"} == set(ROOMS)
    ids = {span.span_id for span in spans}
    assert sum(span.parent_id not in ids for span in spans) == 1, "one root: the chain hangs together"
    ours = {name for span in spans for name in span.attributes if name.startswith("hulumed.")}
    assert ours == {"hulumed.planes", "hulumed.rows_in", "hulumed.rows_out", "hulumed.busy_s", "hulumed.wait_s"}


def _spans_of_new_trace(collector: Collector, seen: set[str]) -> list[Span]:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        spans = [span for span in collector.spans if span.trace_id not in seen]
        if {span.room for span in spans if span.name.endswith(" work")} == set(ROOMS):
            time.sleep(1.2)  # server spans end a little after the work in them
            new = {span.trace_id for span in collector.spans} - seen
            assert len(new) == 1
            return [span for span in collector.spans if span.trace_id in new]
        time.sleep(0.1)
    pytest.fail("not every room has sent its spans")


def test_missing_object_is_named(process_chain: Chain) -> None:
    """The refusal of the first stage reaches the asker as it was said."""
    missing = process_chain.store(b"never stored")
    process_chain.objects.delete("default", missing[0].digest)
    for call in (
        lambda request: process_chain.decoder.plan(request, timeout_s=30),
        lambda request: hear(process_chain.decoder.generate(request, timeout_s=30)),
    ):
        with pytest.raises(PlatformError, match="is stored; upload it") as caught:
            call(question(medium(missing), TEXT))
        assert caught.value.code is ErrorCode.NOT_FOUND


def test_kinds_are_those_of_the_media(process_chain: Chain, files: dict[str, list[Path]]) -> None:
    """`Started` tells what was understood, before the first word of the answer."""
    parts = [medium(process_chain.store(*files[kind])) for kind in ("image", "volume", "video")]
    started = hear(process_chain.decoder.generate(question(*parts, TEXT), timeout_s=60)).started
    assert isinstance(started, decoder_pb2.Started)
    assert [item.kind for item in started.items] == [1, 2, 3]
    assert [item.merge for item in started.items] == [kind.merge for kind in (Kind.IMAGE, Kind.VOLUME, Kind.VIDEO)]
