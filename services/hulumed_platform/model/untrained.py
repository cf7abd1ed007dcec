"""A small checkpoint with seeded random weights in the published layout, for demos and tests without trained weights.

It is labelled untrained, and its answers are gibberish by nature; only their alphabet is bent towards printable text.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from torch import Tensor

from hulumed_platform.model.checkpoint import LABEL_FILE, LM_HEAD, Checkpoint, expected_tensors
from hulumed_platform.model.config import CONFIG_FILE, PREPROCESSOR_FILE, Family, HuluMedConfig
from hulumed_platform.model.digests import Manifest, file_sizes
from hulumed_platform.model.prompt import END_OF_TEXT, IM_END, IM_START, IMAGE
from hulumed_platform.model.tokenizer import TOKENIZER_FILE, byte_symbols
from hulumed_platform.model.weights import INDEX_FILE, WEIGHTS_FILE, Part

LABEL = "untrained"

# In the order of their ids, which follow those of the 256 bytes.
SPECIAL_TOKENS = (END_OF_TEXT, IM_START, IM_END, IMAGE, "<|stream_start|>", "<|stream_end|>")

_EMBEDDINGS = "model.embed_tokens.weight"


def write_untrained(
    checkpoint_dir: Path, *, seed: int, decoder: Family = Family.QWEN3, num_shards: int = 1
) -> Checkpoint:
    """Writes a checkpoint of about 6 million parameters and opens it; equal seeds write equal bytes.

    Args:
        checkpoint_dir: made where it does not exist; files of an earlier call are replaced.
        seed: of the random weights.
        decoder: the language model's family.
        num_shards: weight files; more than one come with an index, as large checkpoints do.
    """
    checkpoint_dir.mkdir(parents=True, exist_ok=True)
    fields = _config_fields(decoder)
    _write_json(checkpoint_dir / CONFIG_FILE, fields)
    _write_json(checkpoint_dir / PREPROCESSOR_FILE, _PREPROCESSOR)
    _write_json(checkpoint_dir / "generation_config.json", {"eos_token_id": fields["eos_token_id"]})
    _write_json(checkpoint_dir / LABEL_FILE, {"label": LABEL, "trained": False})
    _byte_tokenizer().save(str(checkpoint_dir / TOKENIZER_FILE))
    _write_weights(checkpoint_dir, _random_weights(HuluMedConfig.read(checkpoint_dir), seed), num_shards)
    return _with_manifest(checkpoint_dir)


_PREPROCESSOR = {
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "image_processor_type": "HulumedImageProcessor",
    "max_tokens": 16384,
    "min_tokens": 16,
    "patch_size": 14,
    "resample": 3,
    "rescale_factor": 1 / 255,
}

_VISION = {
    "model_type": "hulumed_vision_encoder",
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 192,
    "intermediate_size": 768,
    "layer_norm_eps": 1e-6,
    "num_attention_heads": 4,
    "num_channels": 3,
    "num_hidden_layers": 4,
    "patch_size": 14,
}


def _config_fields(family: Family) -> dict[str, Any]:
    ids = _special_ids()
    fields = {
        "architectures": [f"Hulumed{family.value.title()}ForCausalLM"],
        "model_type": f"hulumed_{family.value}",
        "bos_token_id": ids[END_OF_TEXT],
        "eos_token_id": ids[IM_END],
        "hidden_act": "silu",
        "hidden_size": 256,
        "image_token_index": ids[IMAGE],
        "intermediate_size": 1024,
        "max_position_embeddings": 65536,
        "mm_hidden_size": _VISION["hidden_size"],
        "mm_projector_type": "mlp2x_gelu",
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1_000_000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "use_token_compression": True,
        "vision_encoder_config": _VISION,
        "vocab_size": len(byte_symbols()) + len(SPECIAL_TOKENS),
    }
    return fields | {"head_dim": 64} if family is Family.QWEN3 else fields


def _special_ids() -> dict[str, int]:
    return {name: len(byte_symbols()) + n for n, name in enumerate(SPECIAL_TOKENS)}


def _byte_tokenizer() -> tokenizers.Tokenizer:
    """One token a byte, id = byte, and the control tokens."""
    vocabulary = {symbol: byte for byte, symbol in byte_symbols().items()}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL_TOKENS])
    return tokenizer


def _random_weights(config: HuluMedConfig, seed: int) -> dict[str, Tensor]:
    """Gaussian weights that keep activations near 1, with norms of one and biases of zero."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: shape for part in Part for name, shape in expected_tensors(config, part).items()}
    weights = {name: _random(name, shapes[name], generator) for name in sorted(shapes)}
    _prefer_printable(weights)
    return weights


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if len(shape) == 1:
        return torch.zeros(shape) if name.endswith(".bias") else torch.ones(shape)
    values = torch.randn(shape, generator=generator)
    fan_in = values[0].numel()
    return values if name == _EMBEDDINGS else values / fan_in**0.5


def _prefer_printable(weights: dict[str, Tensor]) -> None:
    """Makes one channel carry a constant from the embeddings to the output, which likes printable ASCII and the end."""
    weights[_EMBEDDINGS][:, 0] = 4.0
    weights["model.mm_projector.readout.2.bias"][0] = 4.0
    weights[LM_HEAD][:, 0] = -4.0
    weights[LM_HEAD][0x20:0x7F, 0] = 4.0
    weights[LM_HEAD][_special_ids()[IM_END], 0] = 3.5


def _write_weights(checkpoint_dir: Path, weights: Mapping[str, Tensor], num_shards: int) -> None:
    if num_shards == 1:
        save_file(dict(weights), checkpoint_dir / WEIGHTS_FILE, metadata={"format": "pt"})
        return
    names = sorted(weights)
    weight_map: dict[str, str] = {}
    for shard in range(num_shards):
        file = f"model-{shard + 1:05d}-of-{num_shards:05d}.safetensors"
        tensors = {name: weights[name] for name in names[shard::num_shards]}
        save_file(tensors, checkpoint_dir / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, file)
    total = sum(tensor.nbytes for tensor in weights.values())
    _write_json(checkpoint_dir / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": weight_map})


def _with_manifest(checkpoint_dir: Path) -> Checkpoint:
    checkpoint = Checkpoint.open(checkpoint_dir)
    Manifest(checkpoint.compute_digests(), file_sizes(checkpoint_dir, checkpoint.weights)).write(checkpoint_dir)
    return checkpoint


def _write_json(path: Path, fields: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
