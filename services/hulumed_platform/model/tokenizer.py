"""The tokenizer of a checkpoint: byte-level BPE as Qwen uses it, in which users cannot type control tokens."""

import codecs
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tokenizers

from hulumed_platform.model.errors import CheckpointError
from hulumed_platform.model.fields import Fields
from hulumed_platform.model.prompt import CONTROL_TOKENS, END_OF_TEXT, IM_END

TOKENIZER_FILE = "tokenizer.json"


class Tokenizer:
    """Text to ids and back. Safe to use from many threads."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        """Takes the content of `tokenizer.json`; with all control tokens among its added ones."""
        # Some checkpoints add <image> as an ordinary token; a control token is always special here.
        added = [
            {**token, "special": token["special"] or token["content"] in CONTROL_TOKENS}
            for token in fields["added_tokens"]
        ]
        self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps({**fields, "added_tokens": added}))
        self._tokenizer.encode_special_tokens = True  # as plain text
        self._special: dict[str, int] = {token["content"]: token["id"] for token in added if token["special"]}
        self._ordinary: dict[int, str] = {token["id"]: token["content"] for token in added if not token["special"]}
        self._control_ids = frozenset(self._special.values())
        self.end_ids = frozenset({self._special[IM_END], self._special[END_OF_TEXT]})
        """Ids that end an answer."""

    @classmethod
    def open(cls, checkpoint_dir: Path) -> "Tokenizer":
        """Reads `tokenizer.json`.

        Raises:
            CheckpointError: it is missing, is not byte-level BPE, or lacks a control token.
        """
        path = checkpoint_dir / TOKENIZER_FILE
        fields = Fields.read(path)
        decoder = fields.part("decoder")
        if decoder is None or decoder.text("type", "") != "ByteLevel":
            raise CheckpointError(f"{path} is not the byte-level BPE that Hulu-Med's decoders use")
        added = {token.text("content", "") for token in fields.parts("added_tokens")}
        if lacking := [name for name in CONTROL_TOKENS if name not in added]:
            raise CheckpointError(f"{path} lacks the tokens {', '.join(lacking)}")
        try:
            return cls(fields.values)
        except Exception as error:  # tokenizers raises nothing narrower
            raise CheckpointError(f"{path} cannot be used as a tokenizer: {error}; fetch it again") from error

    @property
    def vocab_size(self) -> int:
        """Ids in use, control tokens included; the model may have more rows."""
        size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        return size

    def encode_text(self, text: str) -> list[int]:
        """Token ids of plain text; control tokens written in it become text like any other."""
        # Unlike `encode`, this lets other threads run meanwhile, and spends nothing on where each token came from.
        (encoding,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        ids: list[int] = encoding.ids
        return ids

    def special_id(self, name: str) -> int:
        """Id of a control token, by its name, as `<|im_end|>`."""
        return self._special[name]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of tokens, without control tokens."""
        stream = self.stream()
        return "".join(stream.push(token_id) for token_id in ids) + stream.flush()

    def stream(self) -> "TextStream":
        """A decoder of one answer, token by token."""
        return TextStream(self)

    def token_bytes(self, token_id: int) -> bytes:
        """UTF-8 bytes that a token stands for, which may be part of a character; none for control tokens."""
        if token_id in self._control_ids:
            return b""
        if token_id in self._ordinary:
            return self._ordinary[token_id].encode()
        token = self._tokenizer.id_to_token(token_id)
        return b"" if token is None else bytes(_BYTE_OF_SYMBOL[symbol] for symbol in token)


class TextStream:
    """Turns tokens into text as they come and never gives out half a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """Text that is complete with this token; bytes that can form no character become U+FFFD."""
        return self._decoder.decode(self._tokenizer.token_bytes(token_id))

    def flush(self) -> str:
        """What is left at the end: a broken character as U+FFFD, or nothing."""
        return self._decoder.decode(b"", final=True)


def byte_symbols() -> dict[int, str]:
    """The printable symbol that stands for each byte in byte-level BPE (GPT-2).

    Printable Latin-1 stands for itself; the other bytes take the code points from 256 on, in order.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


_BYTE_OF_SYMBOL = {symbol: byte for byte, symbol in byte_symbols().items()}
