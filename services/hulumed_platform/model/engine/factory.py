"""Engines by their name in the settings."""

from hulumed_platform.model.engine.base import Engine, EngineName
from hulumed_platform.model.engine.transformers_engine import TransformersEngine
from hulumed_platform.model.language import LanguageModel
from hulumed_platform.model.tokenizer import Tokenizer


def make_engine(name: EngineName, language: LanguageModel, tokenizer: Tokenizer, *, prefill_chunk: int) -> Engine:
    """The engine of that name over loaded weights."""
    match name:
        case "transformers":
            return TransformersEngine(language, tokenizer, prefill_chunk)
