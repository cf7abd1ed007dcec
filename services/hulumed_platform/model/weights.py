"""Where the tensors of a published checkpoint are stored, under the names of the later layout.

Accepted are one safetensors file or shards with an index, the doubled or single vision prefix, and a vision encoder in
a folder of its own. Files are opened for their headers and memory mapped for the tensors asked for, never read whole.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from hulumed_platform.model.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

VISION_PREFIX = "model.vision_encoder."
DOUBLED_VISION_PREFIX = "model.vision_encoder.vision_encoder."
PROJECTOR_PREFIX = "model.mm_projector."


class Part(StrEnum):
    """A part of the model that one service loads."""

    ENCODER = "encoder"
    PROJECTOR = "projector"
    DECODER = "decoder"


class Layout(StrEnum):
    """Where a checkpoint keeps its vision weights."""

    DOUBLED = "doubled"
    """`model.vision_encoder.vision_encoder.`: the original packages."""
    SINGLE = "single"
    """`model.vision_encoder.`: the packages for transformers."""
    SEPARATE = "separate"
    """In a folder of their own alone."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file."""

    file: Path
    name: str
    """Its name in the file."""


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """What a file says of a tensor."""

    dtype: str
    """In the words of safetensors: F32, BF16."""
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WeightIndex:
    """The tensors of a checkpoint by their published name."""

    tensors: Mapping[str, StoredTensor]
    layout: Layout

    @classmethod
    def scan(cls, checkpoint_dir: Path, encoder_dir: Path | None) -> "WeightIndex":
        """Finds every tensor. Vision weights beside the decoder win over those in the encoder's folder: they are tuned.

        Raises:
            CheckpointError: there are no weights, a file cannot be read, or a tensor is stored twice.
        """
        stored = _stored_tensors(checkpoint_dir)
        if not stored:
            raise CheckpointError(f"{checkpoint_dir} holds no {WEIGHTS_FILE} and no {INDEX_FILE}")
        tensors: dict[str, StoredTensor] = {}
        for tensor in stored:
            name = tensor.name.replace(DOUBLED_VISION_PREFIX, VISION_PREFIX, 1)
            if name in tensors:
                raise CheckpointError(f"{checkpoint_dir} holds {name} twice, under the doubled and the single prefix")
            tensors[name] = tensor
        layout = _layout(stored)
        if layout is Layout.SEPARATE and encoder_dir is not None:
            tensors |= {
                VISION_PREFIX + tensor.name.removeprefix("vision_encoder."): tensor
                for tensor in _stored_tensors(encoder_dir)
            }
        return cls(tensors, layout)

    @property
    def files(self) -> list[Path]:
        """Every file that holds a tensor, sorted."""
        return sorted({tensor.file for tensor in self.tensors.values()})

    def names(self, part: Part) -> list[str]:
        """Published names of the tensors of a part, sorted."""
        return sorted(name for name in self.tensors if part_of(name) is part)

    def headers(self, names: Iterable[str]) -> dict[str, TensorHeader]:
        """Type and shape of the named tensors, without those that the index names but no file holds."""
        headers: dict[str, TensorHeader] = {}
        for file, wanted in self._by_file(names).items():
            found = read_headers(file) if file.is_file() else {}
            headers |= {name: found[stored] for name, stored in wanted.items() if stored in found}
        return headers

    def missing_files(self, names: Iterable[str]) -> list[Path]:
        """Files of the named tensors that are not there, sorted."""
        return sorted(file for file in self._by_file(names) if not file.is_file())

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, "Tensor"]]:
        """Yields the named tensors file by file, memory mapped on the CPU as they are stored."""
        for file, wanted in self._by_file(names).items():
            with _opened(file) as opened:
                for name, stored in wanted.items():
                    yield name, opened.get_tensor(stored)

    def _by_file(self, names: Iterable[str]) -> dict[Path, dict[str, str]]:
        by_file: dict[Path, dict[str, str]] = defaultdict(dict)
        for name in names:
            tensor = self.tensors[name]
            by_file[tensor.file][name] = tensor.name
        return by_file


def part_of(name: str) -> Part:
    """The part that a tensor belongs to, by its published name."""
    if name.startswith(VISION_PREFIX):
        return Part.ENCODER
    if name.startswith(PROJECTOR_PREFIX):
        return Part.PROJECTOR
    return Part.DECODER


def has_query_norm(checkpoint_dir: Path) -> bool:
    """Whether the weights of a folder hold the query norms that Qwen3 has and Qwen2 has not."""
    return any(tensor.name.endswith(".q_norm.weight") for tensor in _stored_tensors(checkpoint_dir))


def read_headers(file: Path) -> dict[str, TensorHeader]:
    """Type and shape of every tensor of a safetensors file, by the name in the file."""
    headers: dict[str, TensorHeader] = {}
    with _opened(file) as opened:
        for name in opened.keys():  # noqa: SIM118 - not a mapping: it has keys() and no iterator
            header = opened.get_slice(name)
            headers[name] = TensorHeader(header.get_dtype(), tuple(header.get_shape()))
    return headers


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        CheckpointError: the file is missing or is not a JSON object.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; name the folder of a published checkpoint") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(fields, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return fields


def _stored_tensors(folder: Path) -> list[StoredTensor]:
    """Tensors of the shards or the single file of a folder; none where it has neither."""
    if (folder / INDEX_FILE).is_file():
        weight_map = read_json(folder / INDEX_FILE).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
            raise CheckpointError(f"{folder / INDEX_FILE} has no weight_map from tensors to files; fetch it again")
        return [StoredTensor(folder / file, name) for name, file in weight_map.items()]
    if (folder / WEIGHTS_FILE).is_file():
        file = folder / WEIGHTS_FILE
        return [StoredTensor(file, name) for name in read_headers(file)]
    return []


def _layout(stored: Iterable[StoredTensor]) -> Layout:
    vision = [tensor.name for tensor in stored if tensor.name.startswith(VISION_PREFIX)]
    if not vision:
        return Layout.SEPARATE
    return Layout.DOUBLED if vision[0].startswith(DOUBLED_VISION_PREFIX) else Layout.SINGLE


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with safe_open(file, framework="pt", device="cpu") as opened:
            yield opened
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} cannot be read as safetensors: {error}; fetch it again") from error
