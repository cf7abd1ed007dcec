"""The transformers engine: the same numbers whoever else is served, and nothing held once a request ends."""

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.engine.base import Block, EmbeddingBlock, Sampling, Step, TokenBlock
from hulumed_platform.model.engine.sampler import Sampler
from hulumed_platform.model.engine.stopping import StopFilter
from hulumed_platform.model.engine.transformers_engine import TransformersEngine
from hulumed_platform.model.errors import ContextLengthError, EngineClosedError, ModelError
from hulumed_platform.model.language import LanguageModel
from hulumed_platform.model.tokenizer import Tokenizer

CPU = torch.device("cpu")
GREEDY = Sampling(max_new_tokens=24, ignore_end=True)
PROMPT = tuple(b"Findings: the heart is not enlarged, the lungs are clear.")


@pytest.fixture(scope="module")
def language(untrained: Checkpoint) -> LanguageModel:
    return untrained.load_language(CPU)


@pytest.fixture(scope="module")
def tokenizer(untrained: Checkpoint) -> Tokenizer:
    return untrained.tokenizer()


@pytest.fixture
def engine(language: LanguageModel, tokenizer: Tokenizer) -> Iterator[TransformersEngine]:
    """Chunks are short, so that prompts of a test have several."""
    engine = TransformersEngine(language, tokenizer, prefill_chunk=16)
    yield engine
    engine.close()


def steps_of(engine: TransformersEngine, blocks: Iterable[Block], sampling: Sampling = GREEDY) -> list[Step]:
    return list(engine.generate(blocks, sampling, threading.Event()))


def tokens_of(engine: TransformersEngine, blocks: Iterable[Block], sampling: Sampling = GREEDY) -> list[int]:
    return [token_id for step in steps_of(engine, blocks, sampling) for token_id in step.token_ids]


def text_of(steps: Iterable[Step]) -> str:
    return "".join(step.text for step in steps)


def wait_until_idle(engine: TransformersEngine) -> None:
    deadline = time.monotonic() + 5
    while engine.num_live and time.monotonic() < deadline:
        time.sleep(0.005)
    assert engine.num_live == 0


def test_decoding_with_a_cache_equals_the_full_forward(engine: TransformersEngine, language: LanguageModel) -> None:
    """Every token is the best one of a forward over the whole sequence without a cache."""
    tokens = tokens_of(engine, [TokenBlock(PROMPT)])
    whole = language.embed((*PROMPT, *tokens))
    logits = language.forward(whole, language.new_cache(), all_logits=True)
    assert tokens == logits[len(PROMPT) - 1 : -1].argmax(-1).tolist()


@pytest.mark.parametrize("length", [1, 15, 16, 17, 32, 33])
def test_numbers_do_not_depend_on_how_the_prompt_arrives(
    engine: TransformersEngine, language: LanguageModel, length: int
) -> None:
    """Chunks are cut at fixed counts: whole, piece by piece, or as embeddings gives the same logits."""
    prompt = (PROMPT * 2)[:length]
    whole = tokens_of(engine, [TokenBlock(prompt)])
    assert tokens_of(engine, [TokenBlock((token_id,)) for token_id in prompt]) == whole
    assert tokens_of(engine, [EmbeddingBlock(language.embed(prompt)), TokenBlock(())]) == whole
    assert tokens_of(engine, [TokenBlock(prompt[:7]), TokenBlock(()), TokenBlock(prompt[7:])]) == whole


def test_prefill_overlaps_with_the_arrival_of_the_prompt(engine: TransformersEngine) -> None:
    """Complete chunks are computed while later blocks are still on their way."""
    computed = threading.Event()
    forward = engine._language.forward

    def observed(*args: object, **options: object) -> torch.Tensor:
        computed.set()
        return forward(*args, **options)  # type: ignore[arg-type]

    def blocks() -> Iterator[Block]:
        yield TokenBlock(PROMPT)
        assert computed.wait(5)
        yield TokenBlock(PROMPT)

    engine._language.forward = observed  # type: ignore[method-assign]
    try:
        tokens = tokens_of(engine, blocks())
    finally:
        engine._language.forward = forward  # type: ignore[method-assign]
    assert tokens == tokens_of(engine, [TokenBlock(PROMPT * 2)])


def test_concurrent_requests_all_stream(engine: TransformersEngine) -> None:
    """Nobody waits for another's end: all have begun before any is done, with the answers they get alone."""
    prompts = [PROMPT[n : n + 20] for n in range(4)]
    alone = [tokens_of(engine, [TokenBlock(prompt)]) for prompt in prompts]
    begun = threading.Barrier(len(prompts))

    def request(prompt: tuple[int, ...]) -> list[int]:
        steps = engine.generate([TokenBlock(prompt)], GREEDY, threading.Event())
        first = next(steps)
        begun.wait(10)
        return [token_id for step in (first, *steps) for token_id in step.token_ids]

    with ThreadPoolExecutor(len(prompts)) as pool:
        assert list(pool.map(request, prompts)) == alone


def test_a_short_answer_overtakes_a_long_one(engine: TransformersEngine) -> None:
    long = engine.generate([TokenBlock(PROMPT)], Sampling(5000, ignore_end=True), threading.Event())
    next(long)
    assert steps_of(engine, [TokenBlock(PROMPT)], Sampling(3, ignore_end=True))[-1].finish_reason == "length"
    assert engine.num_live == 1
    long.close()  # type: ignore[attr-defined]
    wait_until_idle(engine)


def test_equal_seeds_draw_equal_answers(engine: TransformersEngine) -> None:
    def draw(seed: int | None) -> list[int]:
        sampling = Sampling(24, temperature=1.0, top_p=0.9, top_k=40, seed=seed, ignore_end=True)
        return tokens_of(engine, [TokenBlock(PROMPT)], sampling)

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)
    assert draw(None) != draw(None)


def test_the_token_limit_ends_an_answer(engine: TransformersEngine, tokenizer: Tokenizer) -> None:
    steps = steps_of(engine, [TokenBlock(PROMPT)], Sampling(5, ignore_end=True))
    assert steps[-1].finish_reason == "length"
    assert all(step.finish_reason is None for step in steps[:-1])
    token_ids = [token_id for step in steps for token_id in step.token_ids]
    assert len(token_ids) == 5
    assert text_of(steps) == tokenizer.decode(token_ids)


def test_an_end_token_ends_an_answer(engine: TransformersEngine, tokenizer: Tokenizer) -> None:
    """It is counted and not shown."""
    sampling = Sampling(2000, temperature=3.0, seed=0)
    steps = steps_of(engine, [TokenBlock(PROMPT)], sampling)
    assert steps[-1].finish_reason == "stop"
    assert steps[-1].token_ids[0] in tokenizer.end_ids
    assert "<|" not in text_of(steps)


@pytest.mark.parametrize("length", [1, 3])
def test_a_stop_text_ends_an_answer_and_is_never_shown(engine: TransformersEngine, length: int) -> None:
    """Also where it is spread over tokens, of which the first ones were drawn before."""
    sampling = Sampling(60, temperature=1.0, seed=3, ignore_end=True)
    full = text_of(steps_of(engine, [TokenBlock(PROMPT)], sampling))
    stop = full[20 : 20 + length]
    steps = steps_of(
        engine, [TokenBlock(PROMPT)], Sampling(60, temperature=1.0, seed=3, stop=("absent", stop), ignore_end=True)
    )
    assert text_of(steps) == full[: full.index(stop)]
    assert steps[-1].finish_reason == "stop"
    wait_until_idle(engine)


@given(pieces=st.lists(st.text("ab", max_size=4)), stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_stop_filter_equals_a_search_in_the_whole_text(pieces: list[str], stops: list[str]) -> None:
    """However the text is cut, what is shown ends before the first stop text to be complete, and else is all."""
    stop_filter, shown = StopFilter(tuple(stops)), ""
    for piece in pieces:
        shown += stop_filter.push(piece)
        assert not any(stop in shown for stop in stops)
        if stop_filter.stopped:
            break
    else:
        shown += stop_filter.flush()
    text = "".join(pieces)
    assert stop_filter.stopped == any(stop in text for stop in stops)
    assert text.startswith(shown)
    if not stop_filter.stopped:
        assert shown == text


def test_cancelling_ends_an_answer_and_frees_its_cache(engine: TransformersEngine) -> None:
    cancelled = threading.Event()
    steps = engine.generate([TokenBlock(PROMPT)], Sampling(50_000, ignore_end=True), cancelled)
    next(steps)
    cancelled.set()
    assert list(steps)[-1].finish_reason == "cancelled"
    wait_until_idle(engine)


def test_cancelling_during_the_prompt_frees_the_cache_at_once(engine: TransformersEngine) -> None:
    """The prompt's source may be stuck for long: the memory does not wait for it."""
    cancelled, reached, released = threading.Event(), threading.Event(), threading.Event()

    def blocks() -> Iterator[Block]:
        yield TokenBlock(PROMPT)
        reached.set()
        released.wait(10)
        yield TokenBlock(PROMPT)

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: list(engine.generate(blocks(), GREEDY, cancelled)))
        assert reached.wait(5)
        cancelled.set()
        wait_until_idle(engine)
        released.set()
        assert [step.finish_reason for step in answer.result(5)] == ["cancelled"]


def test_leaving_early_frees_the_cache(engine: TransformersEngine) -> None:
    steps = engine.generate([TokenBlock(PROMPT)], Sampling(50_000, ignore_end=True), threading.Event())
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    wait_until_idle(engine)


def test_an_error_of_the_prompt_reaches_the_caller(engine: TransformersEngine) -> None:
    """A stage above broke off: the same error arrives, and nothing stays behind."""

    def blocks() -> Iterator[Block]:
        yield TokenBlock(PROMPT)
        raise ConnectionError("the compressor went away")

    with pytest.raises(ConnectionError, match="went away"):
        steps_of(engine, blocks())
    wait_until_idle(engine)


def test_an_error_of_the_computation_reaches_its_caller_alone(engine: TransformersEngine) -> None:
    """One request with ids that the model does not have; the others go on."""
    other = engine.generate([TokenBlock(PROMPT)], GREEDY, threading.Event())
    next(other)
    with pytest.raises(ModelError, match="takes \\[n, 256\\]"):
        steps_of(engine, [EmbeddingBlock(torch.zeros(3, 5))])
    with pytest.raises(IndexError):
        steps_of(engine, [TokenBlock((100_000,))])
    assert list(other)[-1].finish_reason == "length"
    wait_until_idle(engine)


def test_an_empty_prompt_is_refused(engine: TransformersEngine) -> None:
    with pytest.raises(ModelError, match="empty"):
        steps_of(engine, [])


def test_context_limit(language: LanguageModel, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt that leaves no room is refused before it is computed; an answer ends when the context is full."""
    monkeypatch.setattr(language, "max_context", 40)
    engine = TransformersEngine(language, tokenizer, prefill_chunk=16)
    with pytest.raises(ContextLengthError, match="context of 40"):
        steps_of(engine, [TokenBlock(PROMPT[:20]), TokenBlock(PROMPT[:20])])
    steps = steps_of(engine, [TokenBlock(PROMPT[:36])], Sampling(100, ignore_end=True))
    assert sum(len(step.token_ids) for step in steps) == 4
    assert steps[-1].finish_reason == "length"
    engine.close()


def test_closing_ends_every_request(language: LanguageModel, tokenizer: Tokenizer) -> None:
    engine = TransformersEngine(language, tokenizer)
    steps = engine.generate([TokenBlock(PROMPT)], Sampling(50_000, ignore_end=True), threading.Event())
    next(steps)
    engine.close()
    with pytest.raises(EngineClosedError):
        list(steps)
    with pytest.raises(EngineClosedError):
        steps_of(engine, [TokenBlock(PROMPT)])


def draws(sampling: Sampling, logits: list[float]) -> set[int]:
    sampler = Sampler(sampling)
    return {sampler.choose(torch.tensor(logits)) for _ in range(300)}


def test_sampling_limits() -> None:
    """Probabilities 0.5, 0.25, 0.125, 0.125: what top_k and top_p leave."""
    logits = torch.tensor([0.125, 0.5, 0.25, 0.125]).log().tolist()
    assert draws(Sampling(1), logits) == {1}
    assert draws(Sampling(1, temperature=1.0, seed=0), logits) == {0, 1, 2, 3}
    assert draws(Sampling(1, temperature=1.0, seed=0, top_k=2), logits) == {1, 2}
    assert draws(Sampling(1, temperature=1.0, seed=0, top_p=0.5), logits) == {1}
    assert draws(Sampling(1, temperature=1.0, seed=0, top_p=0.74), logits) == {1, 2}
    assert draws(Sampling(1, temperature=1.0, seed=0, top_k=10, top_p=1e-9), logits) == {1}
    assert draws(Sampling(1, temperature=1e-4, seed=0), logits) == {1}


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1, temperature=1e-300, seed=0),
        Sampling(1, temperature=5e-324, seed=0),
        Sampling(1, temperature=1.0, seed=0, top_p=1e-320),
    ],
    ids=str,
)
def test_values_that_float32_takes_for_zero_draw_the_best_token(sampling: Sampling) -> None:
    """They are allowed, and 0 / 0 is no probability."""
    assert draws(sampling, [-3.0, 7.0, 6.9]) == {1}


def test_no_temperature_is_too_high() -> None:
    assert draws(Sampling(1, temperature=1e308, seed=0), [-3.0, 7.0]) == {0, 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"seed": 2**63},
        {"stop": ("",)},
    ],
    ids=str,
)
def test_impossible_sampling_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**({"max_new_tokens": 1} | wrong))  # type: ignore[arg-type]
