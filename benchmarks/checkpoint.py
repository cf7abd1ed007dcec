"""The checkpoint of the benchmarks: random weights in the published layout, between the demo's size and the 4B one."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from hulumed_platform.model.checkpoint import LM_HEAD, Checkpoint, expected_tensors
from hulumed_platform.model.config import CONFIG_FILE, HuluMedConfig
from hulumed_platform.model.digests import Manifest, file_sizes
from hulumed_platform.model.tokenizer import Tokenizer
from hulumed_platform.model.untrained import write_untrained
from hulumed_platform.model.weights import WEIGHTS_FILE, Part

VISION = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6, "num_hidden_layers": 6}
LANGUAGE = {
    "hidden_size": 640,
    "intermediate_size": 2560,
    "mm_hidden_size": VISION["hidden_size"],
    "num_attention_heads": 10,
    "num_hidden_layers": 8,
    "num_key_value_heads": 2,
}
"""With these, encoding a plane and prefilling its tokens take about the same time, as with the published 4B model."""


def write_checkpoint(checkpoint_dir: Path) -> Path:
    """Write the checkpoint; equal on every call. It never draws an end token, so all answers have equal length."""
    write_untrained(checkpoint_dir, seed=0)
    config_file = checkpoint_dir / CONFIG_FILE
    fields = json.loads(config_file.read_text()) | LANGUAGE
    fields["vision_encoder_config"] |= VISION
    config_file.write_text(json.dumps(fields))
    weights = _weights(HuluMedConfig.read(checkpoint_dir))
    weights[LM_HEAD][sorted(Tokenizer.open(checkpoint_dir).end_ids)] = 0.0
    save_file(weights, checkpoint_dir / WEIGHTS_FILE, metadata={"format": "pt"})
    checkpoint = Checkpoint.open(checkpoint_dir)
    Manifest(checkpoint.compute_digests(), file_sizes(checkpoint_dir, checkpoint.weights)).write(checkpoint_dir)
    return checkpoint_dir


def _weights(config: HuluMedConfig) -> dict[str, Tensor]:
    """Gaussian weights that keep activations near 1, norms of one and biases of zero."""
    generator = torch.Generator().manual_seed(0)
    shapes = {name: shape for part in Part for name, shape in expected_tensors(config, part).items()}
    return {name: _weight(name, shapes[name], generator) for name in sorted(shapes)}


def _weight(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if len(shape) == 1:
        return torch.zeros(shape) if name.endswith(".bias") else torch.ones(shape)
    weight: Tensor = torch.randn(shape, generator=generator) / float(shape[-1]) ** 0.5
    return weight
