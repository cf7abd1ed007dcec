"""Configuration of a published Hulu-Med checkpoint, read from its `config.json` of either layout.

The original layout names a separate vision encoder folder (`vision_encoder`, `mm_vision_encoder`); the later one embeds
`vision_encoder_config`. Both decoders, Qwen2 and Qwen3, and all published sizes are described by the same classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hulumed_platform.model.errors import CheckpointError
from hulumed_platform.model.fields import Fields
from hulumed_platform.model.weights import has_query_norm

if TYPE_CHECKING:
    from transformers import Qwen2Config, Qwen3Config

CONFIG_FILE = "config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"


class Family(StrEnum):
    """The language model a checkpoint is built on."""

    QWEN2 = "qwen2"
    """Biases on q, k and v."""
    QWEN3 = "qwen3"
    """No biases; RMS norms on queries and keys."""


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """Sizes of the vision encoder and how pixels are normalised for it."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    patch_size: int
    num_channels: int
    gelu: str
    """Approximation of GELU in the words of torch: tanh (published) or none."""
    layer_norm_eps: float
    pixel_mean: tuple[float, ...]
    """Per channel, of pixels scaled to [0, 1]."""
    pixel_std: tuple[float, ...]

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_heads

    @property
    def patch_dim(self) -> int:
        """Values of a flat patch: channels, rows, columns."""
        return self.num_channels * self.patch_size**2


@dataclass(frozen=True, slots=True)
class ProjectorConfig:
    """Sizes of the projector: `depth` linear layers with GELU between them."""

    in_features: int
    out_features: int
    depth: int


@dataclass(frozen=True, slots=True)
class HuluMedConfig:
    """Everything `config.json` says that this code needs."""

    family: Family
    vision: VisionConfig
    projector: ProjectorConfig
    language_fields: Mapping[str, Any]
    """The fields of `config.json`, for the decoder's own configuration class."""
    image_token_index: int
    """Id of `<image>`; -1 where the file leaves it to the tokenizer."""
    use_token_compression: bool
    tie_word_embeddings: bool
    max_context: int
    """Positions the decoder was made for."""
    encoder_dir: Path | None
    """Folder of the vision encoder, where it has one of its own."""

    @property
    def language(self) -> "Qwen2Config | Qwen3Config":
        """The decoder's configuration as transformers wants it, built anew at each call."""
        from transformers import Qwen2Config, Qwen3Config  # noqa: PLC0415 - takes seconds, and only the decoder needs it

        fields = {name: value for name, value in self.language_fields.items() if name in _LANGUAGE_FIELDS}
        return Qwen3Config(**fields) if self.family is Family.QWEN3 else Qwen2Config(**fields)

    @classmethod
    def read(cls, checkpoint_dir: Path) -> "HuluMedConfig":
        """Reads the configuration of a checkpoint folder.

        Raises:
            CheckpointError: a file or field is missing, cannot be read, or is no size of a model.
        """
        fields = Fields.read(checkpoint_dir / CONFIG_FILE)
        encoder_dir = _find_encoder_dir(checkpoint_dir, fields)
        vision = _read_vision(fields, checkpoint_dir, encoder_dir)
        _check_decoder(fields)
        # The published Qwen3 package writes hulumed_qwen2 too; then only the weights tell the two apart.
        is_qwen3 = "qwen3" in fields.text("model_type", "") or has_query_norm(checkpoint_dir)
        return cls(
            family=Family.QWEN3 if is_qwen3 else Family.QWEN2,
            vision=vision,
            projector=ProjectorConfig(
                in_features=vision.hidden_size,
                out_features=fields.size("hidden_size"),
                depth=_projector_depth(fields.text("mm_projector_type", "mlp2x_gelu")),
            ),
            language_fields=fields.values,
            image_token_index=fields.whole("image_token_index", -1),
            use_token_compression=fields.flag("use_token_compression", default=True),
            tie_word_embeddings=fields.flag("tie_word_embeddings", default=False),
            max_context=fields.size("max_position_embeddings"),
            encoder_dir=encoder_dir,
        )


# Read by name, so that fields of Hulu-Med or of its authors' transformers version never reach the decoder.
_LANGUAGE_FIELDS = frozenset(
    {
        "attention_bias",
        "attention_dropout",
        "bos_token_id",
        "eos_token_id",
        "head_dim",
        "hidden_act",
        "hidden_size",
        "intermediate_size",
        "layer_types",
        "max_position_embeddings",
        "max_window_layers",
        "num_attention_heads",
        "num_hidden_layers",
        "num_key_value_heads",
        "rms_norm_eps",
        "rope_parameters",
        "rope_scaling",
        "rope_theta",
        "sliding_window",
        "tie_word_embeddings",
        "use_sliding_window",
        "vocab_size",
    }
)

# A typing error in config.json must not become an hour of building modules.
_MOST_LAYERS = 1000
_MOST_PIXELS = 1024

_ENCODER_FOLDER_FIELDS = ("vision_encoder", "mm_vision_encoder")
_PIXEL_HALF = (0.5, 0.5, 0.5)
_GELU = {"gelu_pytorch_tanh": "tanh", "gelu": "none"}


def _check_decoder(fields: Fields) -> None:
    """What transformers would take and then fail on, or replace by a default of its own."""
    for name in ("hidden_size", "intermediate_size", "vocab_size"):
        fields.size(name)
    fields.size("num_hidden_layers", most=_MOST_LAYERS)
    heads, kv_heads = fields.size("num_attention_heads"), fields.size("num_key_value_heads")
    if heads % kv_heads or (fields.size("head_dim", fields.size("hidden_size") // heads) % 2):
        raise CheckpointError(
            f"{fields.path}: {heads} attention heads of hidden_size {fields.size('hidden_size')} with {kv_heads} "
            "num_key_value_heads form no decoder: these must divide one another, and head_dim by 2"
        )


def _find_encoder_dir(checkpoint_dir: Path, fields: Fields) -> Path | None:
    """Published paths are those of the authors' machine, so the last part of the name is tried too."""
    for field in _ENCODER_FOLDER_FIELDS:
        if name := fields.values.get(field):
            for folder in (checkpoint_dir / str(name), checkpoint_dir / Path(str(name)).name):
                if (folder / CONFIG_FILE).is_file():
                    return folder
    return None


def _read_vision(fields: Fields, checkpoint_dir: Path, encoder_dir: Path | None) -> VisionConfig:
    vision = fields.part("vision_encoder_config")
    if vision is None:
        if encoder_dir is None:
            name = next(filter(None, map(fields.values.get, _ENCODER_FOLDER_FIELDS)), None)
            raise CheckpointError(
                f"{checkpoint_dir / CONFIG_FILE} has no vision_encoder_config, and the vision encoder folder it names "
                f"({name!r}) is not there; put that folder beside config.json"
            )
        vision = Fields.read(encoder_dir / CONFIG_FILE)
    pixels = _read_preprocessor(checkpoint_dir, encoder_dir)
    pixel_std = pixels.numbers("image_std", _PIXEL_HALF)
    if min(pixel_std) <= 0:
        raise CheckpointError(f"{pixels.path}: the field 'image_std' must be positive")
    config = VisionConfig(
        hidden_size=vision.size("hidden_size"),
        intermediate_size=vision.size("intermediate_size"),
        num_layers=vision.size("num_hidden_layers", most=_MOST_LAYERS),
        num_heads=vision.size("num_attention_heads"),
        patch_size=vision.size("patch_size", most=_MOST_PIXELS),
        num_channels=vision.size("num_channels", 3),
        gelu=_gelu(vision.text("hidden_act", "gelu_pytorch_tanh")),
        layer_norm_eps=vision.number("layer_norm_eps", 1e-6),
        pixel_mean=pixels.numbers("image_mean", _PIXEL_HALF),
        pixel_std=pixel_std,
    )
    _check_vision(vision.path, config)
    return config


def _check_vision(path: Path, config: VisionConfig) -> None:
    if config.hidden_size % config.num_heads or config.head_dim % 4:
        raise CheckpointError(
            f"{path}: {config.num_heads} attention heads do not divide the vision hidden_size {config.hidden_size} "
            "into heads of a multiple of 4, which its two rotary axes need"
        )
    if config.num_channels != len(_PIXEL_HALF):
        raise CheckpointError(f"{path}: planes have 3 channels, not {config.num_channels}")


def _read_preprocessor(checkpoint_dir: Path, encoder_dir: Path | None) -> Fields:
    for folder in filter(None, (checkpoint_dir, encoder_dir)):
        if (folder / PREPROCESSOR_FILE).is_file():
            return Fields.read(folder / PREPROCESSOR_FILE)
    return Fields(checkpoint_dir / PREPROCESSOR_FILE, {})


def _gelu(hidden_act: str) -> str:
    if hidden_act not in _GELU:
        raise CheckpointError(f"vision activation {hidden_act!r} is not supported; known are {', '.join(_GELU)}")
    return _GELU[hidden_act]


def _projector_depth(projector_type: str) -> int:
    """Depth of `mlp2x_gelu` and its kin; the other published projector types were never used in a checkpoint."""
    depth = projector_type.removeprefix("mlp").removesuffix("x_gelu")
    if projector_type != f"mlp{depth}x_gelu" or not depth.isdigit() or depth == "0":
        raise CheckpointError(
            f"projector type {projector_type!r} is not supported; published checkpoints use 'mlp2x_gelu'"
        )
    return int(depth)
