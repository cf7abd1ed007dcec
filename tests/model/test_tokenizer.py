"""Text to ids and back, token by token, without ever showing half a character."""

import json
import threading
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.errors import CheckpointError
from hulumed_platform.model.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(untrained: Checkpoint) -> Tokenizer:
    return untrained.tokenizer()


@given(text=st.text())
def test_text_survives_a_stream_of_bytes(tokenizer: Tokenizer, text: str) -> None:
    """With one token a byte, every character beyond ASCII arrives in pieces; only whole ones are shown."""
    stream = tokenizer.stream()
    pieces = [stream.push(token_id) for token_id in tokenizer.encode_text(text)]
    assert "".join(pieces) + stream.flush() == text
    assert all(piece in text for piece in pieces)


@given(ids=st.lists(st.integers(0, 261), max_size=30))
def test_any_bytes_decode_as_the_tokenizer_does(untrained: Checkpoint, tokenizer: Tokenizer, ids: list[int]) -> None:
    """A model may write bytes that form no character; the stream equals decoding all at once."""
    reference = tokenizers.Tokenizer.from_file(str(untrained.path / "tokenizer.json"))
    assert tokenizer.decode(ids) == reference.decode(ids, skip_special_tokens=True)


def test_half_a_character_is_held_and_shown_broken_at_the_end(tokenizer: Tokenizer) -> None:
    stream = tokenizer.stream()
    assert stream.push(0xE2) == ""
    assert stream.push(0x82) == ""
    assert stream.flush() == "\ufffd"


def test_ids_beyond_the_vocabulary_are_silent(tokenizer: Tokenizer) -> None:
    """Published models have more rows than their tokenizer has tokens."""
    assert tokenizer.vocab_size == 262
    assert tokenizer.decode([65, 100_000, 66]) == "AB"


def test_other_threads_run_while_a_long_text_is_tokenised(tokenizer: Tokenizer) -> None:
    """A room must answer its probes meanwhile."""
    done, ticks = threading.Event(), 0

    def tick() -> None:
        nonlocal ticks
        while not done.wait(0.005):
            ticks += 1

    ticking = threading.Thread(target=tick)
    ticking.start()
    tokenizer.encode_text("word and " * 100_000)
    done.set()
    ticking.join()
    assert ticks > 5


def rewritten(source: Path, target: Path, added: list[dict[str, object]], decoder: str = "ByteLevel") -> Path:
    fields = json.loads((source / "tokenizer.json").read_text())
    fields["added_tokens"] = added
    fields["decoder"]["type"] = decoder
    (target / "tokenizer.json").write_text(json.dumps(fields))
    return target


def added_tokens(source: Path) -> list[dict[str, object]]:
    tokens: list[dict[str, object]] = json.loads((source / "tokenizer.json").read_text())["added_tokens"]
    return tokens


def test_an_image_token_added_as_an_ordinary_one_is_special_all_the_same(untrained: Checkpoint, tmp_path: Path) -> None:
    """Otherwise a user could type it."""
    added = [token | {"special": token["content"] != "<image>"} for token in added_tokens(untrained.path)]
    tokenizer = Tokenizer.open(rewritten(untrained.path, tmp_path, added))
    assert tokenizer.special_id("<image>") not in tokenizer.encode_text("<image>")


def test_ordinary_added_tokens_are_text(untrained: Checkpoint, tmp_path: Path) -> None:
    """Qwen3 adds <think> as an ordinary token: it is one id, and it shows."""
    think = {**added_tokens(untrained.path)[0], "id": 262, "content": "<think>", "special": False}
    tokenizer = Tokenizer.open(rewritten(untrained.path, tmp_path, [*added_tokens(untrained.path), think]))
    assert tokenizer.encode_text("<think>") == [262]
    assert tokenizer.decode([262, 65]) == "<think>A"


def test_unfit_tokenizers_are_refused(untrained: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer.json is missing"):
        Tokenizer.open(tmp_path)
    few = [token for token in added_tokens(untrained.path) if token["content"] != "<image>"]
    with pytest.raises(CheckpointError, match="lacks the tokens <image>"):
        Tokenizer.open(rewritten(untrained.path, tmp_path, few))
    with pytest.raises(CheckpointError, match="not the byte-level BPE"):
        Tokenizer.open(rewritten(untrained.path, tmp_path, few, decoder="Metaspace"))
