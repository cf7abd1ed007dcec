"""A published checkpoint, opened: each service loads its own part of it and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from hulumed_platform.model.config import HuluMedConfig
from hulumed_platform.model.digests import Digests, Manifest, digest_part
from hulumed_platform.model.errors import CheckpointError
from hulumed_platform.model.fields import Fields
from hulumed_platform.model.language import LanguageModel, build_network, finish_network
from hulumed_platform.model.projection import Projector
from hulumed_platform.model.tokenizer import Tokenizer
from hulumed_platform.model.vision import VisionEncoder
from hulumed_platform.model.weights import (
    PROJECTOR_PREFIX,
    VISION_PREFIX,
    Part,
    WeightIndex,
)

if TYPE_CHECKING:
    from transformers import Qwen2ForCausalLM, Qwen3ForCausalLM

LABEL_FILE = "hulumed.json"
LM_HEAD = "lm_head.weight"

_PREFIXES = {Part.ENCODER: VISION_PREFIX, Part.PROJECTOR: PROJECTOR_PREFIX, Part.DECODER: ""}


@dataclass(frozen=True, slots=True)
class Differences:
    """How the stored tensors of a part differ from those its configuration asks for."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    misshapen: tuple[str, ...]
    """Each as `name: found [2, 3], expected [3, 3]`."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.misshapen)

    def __str__(self) -> str:
        kinds = {"missing": self.missing, "extra": self.extra, "misshapen": self.misshapen}
        return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint folder whose configuration and tensor names have been read."""

    path: Path
    config: HuluMedConfig
    weights: WeightIndex
    label: str
    """Shown beside every answer: what the folder calls itself, else its name."""
    trained: bool
    """False for weights that were never trained, which must be said wherever their answers show."""

    @classmethod
    def open(cls, path: Path) -> "Checkpoint":
        """Opens a folder of either published layout.

        Raises:
            CheckpointError: configuration or weights are missing or cannot be read.
        """
        config = HuluMedConfig.read(path)
        own = Fields.read(path / LABEL_FILE) if (path / LABEL_FILE).is_file() else Fields(path / LABEL_FILE, {})
        return cls(
            path=path,
            config=config,
            weights=WeightIndex.scan(path, config.encoder_dir),
            label=own.text("label", path.resolve().name),
            trained=own.flag("trained", default=True),
        )

    def differences(self, part: Part) -> Differences:
        """Compares the stored tensors of a part with those it needs, from file headers alone."""
        return self._differences(part, expected_tensors(self.config, part))

    def digests(self) -> Digests:
        """Digests of all parts: from the manifest beside the weights, else computed by reading every weight.

        Raises:
            CheckpointError: weight files are not those of the manifest, by their sizes.
        """
        manifest = Manifest.read(self.path)
        if manifest is None:
            return self.compute_digests()
        manifest.check_files(self.path, self.weights)
        return manifest.digests

    def compute_digests(self) -> Digests:
        """Digests of all parts, by reading every weight.

        Raises:
            CheckpointError: tensors are missing, extra or misshapen.
        """
        return Digests.of_parts({part: self._compute_digest(part) for part in Part})

    def load_encoder(self, device: torch.device, dtype: torch.dtype | None = None) -> VisionEncoder:
        """The vision encoder, in evaluation mode; `dtype` None keeps the stored one.

        Raises:
            CheckpointError: tensors are missing, extra or misshapen, or differ from the manifest.
        """
        encoder = self._load(Part.ENCODER, device, dtype)
        assert isinstance(encoder, VisionEncoder)
        return encoder

    def load_projector(self, device: torch.device, dtype: torch.dtype | None = None) -> Projector:
        """The projector; see `load_encoder`."""
        projector = self._load(Part.PROJECTOR, device, dtype)
        assert isinstance(projector, Projector)
        return projector

    def load_language(self, device: torch.device, dtype: torch.dtype | None = None) -> LanguageModel:
        """The language model; see `load_encoder`."""
        network = cast("Qwen2ForCausalLM | Qwen3ForCausalLM", self._load(Part.DECODER, device, dtype))
        finish_network(network, device)
        return LanguageModel(network)

    def tokenizer(self) -> Tokenizer:
        """The tokenizer beside the weights.

        Raises:
            CheckpointError: `tokenizer.json` is missing, unreadable, or lacks a control token.
        """
        return Tokenizer.open(self.path)

    def _load(self, part: Part, device: torch.device, dtype: torch.dtype | None) -> nn.Module:
        module = build_part(self.config, part)
        expected = _expected(self.config, part, module)
        self._require(part, expected)
        self._verify(part, expected)
        state = {
            name.removeprefix(_PREFIXES[part]): tensor.to(device=device, dtype=dtype)
            for name, tensor in self.weights.read(expected)
        }
        module.load_state_dict(state, strict=False, assign=True)
        return module.eval().requires_grad_(requires_grad=False)

    def _compute_digest(self, part: Part) -> str:
        expected = expected_tensors(self.config, part)
        self._require(part, expected)
        return digest_part(self.weights, expected)

    def _require(self, part: Part, expected: Mapping[str, tuple[int, ...]]) -> None:
        if missing := self.weights.missing_files(self.weights.names(part)):
            names = ", ".join(file.name for file in missing)
            raise CheckpointError(f"{self.path} lacks files that its index names for the {part}: {names}")
        if differences := self._differences(part, expected):
            raise CheckpointError(f"{self.path} does not hold the {part} its config.json describes: {differences}")

    def _verify(self, part: Part, expected: Mapping[str, tuple[int, ...]]) -> None:
        manifest = Manifest.read(self.path)
        if manifest and manifest.digests.of(part) != digest_part(self.weights, expected):
            raise CheckpointError(
                f"the {part} weights in {self.path} are not those of its manifest; fetch the checkpoint again"
            )

    def _differences(self, part: Part, expected: Mapping[str, tuple[int, ...]]) -> Differences:
        headers = self.weights.headers(self.weights.names(part))
        # A tied output may be stored all the same; it is not read.
        tied = {LM_HEAD} if self.config.tie_word_embeddings else set()
        return Differences(
            missing=tuple(sorted(expected.keys() - headers.keys())),
            extra=tuple(sorted(headers.keys() - expected.keys() - tied)),
            misshapen=tuple(
                f"{name}: found {list(headers[name].shape)}, expected {list(shape)}"
                for name, shape in sorted(expected.items())
                if name in headers and headers[name].shape != shape
            ),
        )


def build_part(config: HuluMedConfig, part: Part) -> nn.Module:
    """The module of a part on the meta device: shapes without memory.

    Raises:
        CheckpointError: the configuration describes none.
    """
    if part is Part.DECODER:
        return build_network(config)
    with torch.device("meta"):
        return VisionEncoder(config.vision) if part is Part.ENCODER else Projector(config.projector)


def expected_tensors(config: HuluMedConfig, part: Part) -> dict[str, tuple[int, ...]]:
    """Published names and shapes of the tensors that a part needs; a tied output needs none of its own."""
    return _expected(config, part, build_part(config, part))


def _expected(config: HuluMedConfig, part: Part, module: nn.Module) -> dict[str, tuple[int, ...]]:
    shapes = {_PREFIXES[part] + name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    if config.tie_word_embeddings:
        shapes.pop(LM_HEAD, None)
    return shapes
