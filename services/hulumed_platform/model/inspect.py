"""What a checkpoint folder holds and what it lacks, told without loading the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from hulumed_platform.model.checkpoint import Checkpoint, Differences
from hulumed_platform.model.config import Family
from hulumed_platform.model.digests import Digests, Manifest, file_sizes
from hulumed_platform.model.errors import CheckpointError
from hulumed_platform.model.weights import Layout, Part


@dataclass(frozen=True, slots=True)
class PartReport:
    """One part of the model as it is stored."""

    part: Part
    num_parameters: int
    dtypes: tuple[str, ...]
    """In the words of safetensors: F32, BF16."""
    differences: Differences
    """Tensors missing, extra or misshapen."""


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """A checkpoint folder."""

    label: str
    trained: bool
    layout: Layout
    family: Family
    hidden_size: int
    num_layers: int
    vocab_size: int
    max_context: int
    vision_hidden_size: int
    vision_num_layers: int
    tokenizer_fault: str | None
    """Why the tokenizer cannot be used; None where it can."""
    parts: tuple[PartReport, ...]
    digests: Digests | None
    """Of the stored weights; None where tensors are missing or misshapen."""
    manifest_matches: bool | None
    """Whether the manifest names these digests and files; None where there is no manifest."""
    files: Mapping[str, int]
    """Size in bytes of every weight file."""
    missing_files: tuple[str, ...]
    """Files that the index names and that are not there; their tensors are missing too."""

    @property
    def num_parameters(self) -> int:
        """Parameters of all parts."""
        return sum(part.num_parameters for part in self.parts)

    @property
    def complete(self) -> bool:
        """Whether a service can load and serve it."""
        return (
            self.tokenizer_fault is None
            and self.manifest_matches is not False
            and not any(p.differences for p in self.parts)
        )


def inspect(checkpoint_dir: Path) -> CheckpointReport:
    """Reads the headers of a checkpoint and hashes its weights.

    Raises:
        CheckpointError: there is no configuration, or a file cannot be read. Differing tensors are only reported.
    """
    checkpoint = Checkpoint.open(checkpoint_dir)
    config = checkpoint.config
    parts = tuple(_report(checkpoint, part) for part in Part)
    digests = None if any(part.differences for part in parts) else checkpoint.compute_digests()
    files = file_sizes(checkpoint_dir, checkpoint.weights)
    manifest = Manifest.read(checkpoint_dir)
    return CheckpointReport(
        label=checkpoint.label,
        trained=checkpoint.trained,
        layout=checkpoint.weights.layout,
        family=config.family,
        hidden_size=config.language_fields["hidden_size"],
        num_layers=config.language_fields["num_hidden_layers"],
        vocab_size=config.language_fields["vocab_size"],
        max_context=config.max_context,
        vision_hidden_size=config.vision.hidden_size,
        vision_num_layers=config.vision.num_layers,
        tokenizer_fault=_tokenizer_fault(checkpoint),
        parts=parts,
        digests=digests,
        manifest_matches=None if manifest is None else manifest == Manifest(digests or manifest.digests, files),
        files=files,
        missing_files=tuple(file.name for file in checkpoint.weights.files if not file.is_file()),
    )


def _tokenizer_fault(checkpoint: Checkpoint) -> str | None:
    try:
        checkpoint.tokenizer()
    except CheckpointError as error:
        return str(error)
    return None


def _report(checkpoint: Checkpoint, part: Part) -> PartReport:
    headers = checkpoint.weights.headers(checkpoint.weights.names(part))
    return PartReport(
        part=part,
        num_parameters=sum(prod(header.shape) for header in headers.values()),
        dtypes=tuple(sorted({header.dtype for header in headers.values()})),
        differences=checkpoint.differences(part),
    )
