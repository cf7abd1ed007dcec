"""The language model: Qwen2 or Qwen3 of transformers behind one class that speaks embeddings.

Shape suffixes: L tokens of a prompt or chunk, D hidden size, V vocabulary.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hulumed_platform.model.config import Family, HuluMedConfig
from hulumed_platform.model.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import DynamicCache, Qwen2ForCausalLM, Qwen3ForCausalLM


class LanguageModel:
    """Decodes one sequence at a time; its state is the cache that the caller keeps."""

    def __init__(self, network: "Qwen2ForCausalLM | Qwen3ForCausalLM") -> None:
        self.network = network
        self.max_context: int = network.config.max_position_embeddings

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.network.lm_head.weight.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, of embeddings and of the cache."""
        dtype: torch.dtype = self.network.lm_head.weight.dtype
        return dtype

    @property
    def hidden_size(self) -> int:
        """Width of an embedding."""
        size: int = self.network.config.hidden_size
        return size

    def embed(self, ids: tuple[int, ...]) -> Tensor:
        """Embeddings of text, [L, D]."""
        embeddings_LD: Tensor = self.network.model.embed_tokens(torch.tensor(ids, device=self.device, dtype=torch.long))
        return embeddings_LD

    def new_cache(self) -> "DynamicCache":
        """An empty cache for one sequence."""
        from transformers import DynamicCache  # noqa: PLC0415 - takes seconds, and only the decoder needs it

        return DynamicCache(config=self.network.config)

    @torch.inference_mode()
    def forward(self, embeddings_LD: Tensor, cache: "DynamicCache", *, all_logits: bool = False) -> Tensor:
        """Appends tokens to a sequence and returns logits, [1, V] of the last token, or [L, V] of all.

        Args:
            embeddings_LD: embeddings of the new tokens, in the device and dtype of the weights.
            cache: keys and values of the tokens before; those of the new ones are added to it.
            all_logits: logits at every position, which at published sizes takes 0.3 MB a token.
        """
        output = self.network(
            inputs_embeds=embeddings_LD[None],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=0 if all_logits else 1,
        )
        logits_LV: Tensor = output.logits[0]
        return logits_LV


def build_network(config: HuluMedConfig) -> "Qwen2ForCausalLM | Qwen3ForCausalLM":
    """The decoder on the meta device: shapes without memory.

    Raises:
        CheckpointError: the configuration describes none.
    """
    from transformers import Qwen2ForCausalLM, Qwen3ForCausalLM  # noqa: PLC0415 - takes seconds, and only the decoder needs it

    network_class = Qwen3ForCausalLM if config.family is Family.QWEN3 else Qwen2ForCausalLM
    try:
        with torch.device("meta"):
            return network_class(config.language)
    except Exception as error:  # transformers has no error of its own for fields that it cannot use
        raise CheckpointError(f"the fields of config.json describe no decoder: {error}") from error


def finish_network(network: "Qwen2ForCausalLM | Qwen3ForCausalLM", device: torch.device) -> None:
    """Ties the output to the embeddings where configured, and makes the rotary table, which no file holds."""
    if network.config.tie_word_embeddings:
        network.lm_head.weight = network.model.embed_tokens.weight
    with torch.device(device):
        network.model.rotary_emb = type(network.model.rotary_emb)(network.config)
