"""Digests of weights, so that an encoder, a projector and a decoder of different checkpoints refuse each other."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from hulumed_platform.model.errors import CheckpointError
from hulumed_platform.model.weights import Part, WeightIndex, read_json

MANIFEST_FILE = "weights.sha256.json"


@dataclass(frozen=True, slots=True)
class Digests:
    """`sha256:<hex>` of each part, and of the checkpoint they form."""

    encoder: str
    projector: str
    decoder: str

    @classmethod
    def of_parts(cls, digests: Mapping[Part, str]) -> "Digests":
        """Digests by part."""
        return cls(**{part.value: digests[part] for part in Part})

    def of(self, part: Part) -> str:
        """Digest of a part."""
        return {Part.ENCODER: self.encoder, Part.PROJECTOR: self.projector, Part.DECODER: self.decoder}[part]

    @property
    def checkpoint(self) -> str:
        """Digest of the three digests, in the order encoder, projector, decoder."""
        joined = "\n".join((self.encoder, self.projector, self.decoder))
        return f"sha256:{hashlib.sha256(joined.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """`weights.sha256.json` beside `config.json`: it spares a service the hashing of parts that it does not load."""

    digests: Digests
    files: Mapping[str, int]
    """Size in bytes of every weight file, by its path from the checkpoint folder."""

    @classmethod
    def read(cls, checkpoint_dir: Path) -> "Manifest | None":
        """The manifest of a folder, or None where it has none."""
        path = checkpoint_dir / MANIFEST_FILE
        if not path.is_file():
            return None
        fields = read_json(path)
        try:
            return cls(Digests(**fields["digests"]), dict(fields["files"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is not a manifest of weights; remove it or write it anew") from error

    def write(self, checkpoint_dir: Path) -> None:
        """Writes the manifest beside the weights."""
        digests = {part.value: self.digests.of(part) for part in Part}
        text = json.dumps({"digests": digests, "files": dict(self.files)}, indent=2)
        (checkpoint_dir / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")

    def check_files(self, checkpoint_dir: Path, weights: WeightIndex) -> None:
        """Compares the weight files with the manifest by name and size.

        Raises:
            CheckpointError: files are missing, unknown or of another size.
        """
        found = file_sizes(checkpoint_dir, weights)
        changed = sorted(name for name in found.keys() | self.files.keys() if found.get(name) != self.files.get(name))
        if changed:
            raise CheckpointError(
                f"weight files of {checkpoint_dir} are not those of its manifest: {', '.join(changed)}; "
                f"fetch them again, or remove {MANIFEST_FILE} if the change was meant"
            )


def file_sizes(checkpoint_dir: Path, weights: WeightIndex) -> dict[str, int]:
    """Size in bytes of every weight file that exists, by its path from the checkpoint folder."""
    return {
        Path(os.path.relpath(file, checkpoint_dir)).as_posix(): file.stat().st_size
        for file in weights.files
        if file.is_file()
    }


def digest_part(weights: WeightIndex, names: Iterable[str]) -> str:
    """sha256 over name, dtype, shape and raw bytes of the named tensors in name order, as `sha256:<hex>`."""
    names = sorted(names)
    headers = weights.headers(names)
    digest = hashlib.sha256()
    for name in names:
        ((_, tensor),) = weights.read([name])
        digest.update(f"{name} {headers[name].dtype} {list(headers[name].shape)}\n".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return f"sha256:{digest.hexdigest()}"
