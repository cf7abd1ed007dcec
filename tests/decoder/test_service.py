"""DecoderService: prompts that fit and do not, questions of text alone, media of which nothing can be shown."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.model.config import CONFIG_FILE
from tests.imaging import samples
from tests.support.chain import Chain, chain_in_process
from tests.support.questions import hear, medium, question

CONTEXT = 256


@pytest.fixture(scope="module")
def short(checkpoint_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A chain whose decoder takes 256 tokens in all."""
    folder = tmp_path_factory.mktemp("short")
    shortened = folder / "checkpoint"
    shutil.copytree(checkpoint_dir, shortened)
    config = json.loads((shortened / CONFIG_FILE).read_text())
    (shortened / CONFIG_FILE).write_text(json.dumps(config | {"max_position_embeddings": CONTEXT}))
    with chain_in_process(checkpoint_dir, folder, {"decoder": {"checkpoint_dir": shortened}}) as started:
        yield started


def volume(folder: Path, num_planes: int, *, still: bool) -> Path:
    """Planes of 9 tokens each; `still`: all the same, so that one token is kept of each but the first."""
    random = np.random.default_rng(0)
    planes = [random.integers(0, 400, (84, 84)) for _ in range(1 if still else num_planes)]
    voxels = np.stack(planes * (num_planes if still else 1), axis=2).astype(np.int16)
    return samples.nifti(folder / "volume.nii", voxels)


def test_long_text_is_refused_with_numbers(short: Chain) -> None:
    """One byte is one token here: the caller can tell how much to cut."""
    with pytest.raises(PlatformError, match=r"has 3\d\d tokens, 0 of them visual.*takes 256.*send less text") as caught:
        hear(short.decoder.generate(question("x" * 300), timeout_s=10))
    assert caught.value.code is ErrorCode.TOO_LARGE


def test_text_out_of_all_proportion_is_not_even_tokenised(short: Chain) -> None:
    """30 MB of text took a minute and 5 GB to be told that it is too long; now Plan refuses it as well."""
    request = question("x" * 4000, "y" * 1000)
    for call in (
        lambda: hear(short.decoder.generate(request, timeout_s=10)),
        lambda: short.decoder.plan(request, timeout_s=10),
    ):
        with pytest.raises(PlatformError, match=r"the text has 5000 characters; .* takes 256 tokens") as caught:
            call()
        assert caught.value.code is ErrorCode.TOO_LARGE


def test_too_many_planes_are_refused_before_anything_is_drawn(short: Chain, tmp_path: Path) -> None:
    """The message has the number that Plan gives, and names the option to change."""
    request = question(medium(short.store(volume(tmp_path, 40, still=False))), "What is this?")
    plan = short.decoder.plan(request, timeout_s=20)
    assert plan.prompt_tokens > plan.max_context_tokens == CONTEXT
    with pytest.raises(PlatformError, match=f"has {plan.prompt_tokens} tokens, .*num_planes") as caught:
        hear(short.decoder.generate(request, timeout_s=20))
    assert caught.value.code is ErrorCode.TOO_LARGE


def test_prompt_that_fits_only_after_compression_is_answered(short: Chain, tmp_path: Path) -> None:
    """What counts is what the decoder sees: 360 tokens before, about 50 after."""
    request = question(medium(short.store(volume(tmp_path, 40, still=True))), "What is this?")
    usage = hear(short.decoder.generate(request, timeout_s=20)).provenance.usage
    assert usage.prompt_tokens < CONTEXT < usage.visual_tokens_before


def test_answer_ends_where_the_context_is_full(short: Chain) -> None:
    """A prompt that fits is answered as far as there is room."""
    answer = hear(short.decoder.generate(question("x" * 200, max_new_tokens=500), timeout_s=20))
    assert answer.finished.finish_reason == "length"
    usage = answer.provenance.usage
    assert usage.prompt_tokens + usage.completion_tokens <= CONTEXT + 1


def test_text_alone_asks_no_other_room(chain: Chain) -> None:
    """A question about nothing seen costs no visual stage; its plan is exact as well."""
    request = question("Hello?")
    answer = hear(chain.decoder.generate(request, timeout_s=10))
    assert [report.stage for report in answer.provenance.stages] == ["decoder"]
    assert not answer.started.items
    plan = chain.decoder.plan(request, timeout_s=10)
    assert plan.prompt_tokens == answer.provenance.usage.prompt_tokens == answer.provenance.stages[0].rows_in


def test_stop_text_ends_the_answer(chain: Chain) -> None:
    """The stop text is not part of the answer, and the reason is told."""
    whole = hear(chain.decoder.generate(question("Hello?", max_new_tokens=20), timeout_s=10)).text
    stop = whole[5:7]
    answer = hear(chain.decoder.generate(question("Hello?", max_new_tokens=20, stop=[stop]), timeout_s=10))
    assert answer.text == whole[: whole.index(stop)]
    assert answer.finished.finish_reason == "stop"
