"""`inspect` tells what a folder holds and lacks, and does not stop at the first fault."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.config import Family
from hulumed_platform.model.errors import CheckpointError
from hulumed_platform.model.inspect import inspect
from hulumed_platform.model.untrained import write_untrained
from hulumed_platform.model.weights import Layout, Part
from tests.model.conftest import GOLDENS


def test_a_published_folder() -> None:
    report = inspect(GOLDENS / "q3")
    assert (report.family, report.layout) == (Family.QWEN3, Layout.DOUBLED)
    assert (report.hidden_size, report.num_layers, report.vocab_size, report.max_context) == (64, 3, 320, 4096)
    assert [part.num_parameters for part in report.parts] == [85248, 7296, 189056]
    assert {part.dtypes for part in report.parts} == {("F32",)}
    assert report.digests == Checkpoint.open(GOLDENS / "q3").digests()
    assert report.manifest_matches is None
    assert report.tokenizer_fault is not None
    assert "tokenizer.json is missing" in report.tokenizer_fault
    assert not report.complete


def test_wrong_tensors_are_reported_not_raised(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GOLDENS / "q2", tmp_path / "q2"))
    weights = load_file(folder / "model.safetensors")
    del weights["model.norm.weight"]
    weights["model.mm_projector.readout.4.bias"] = torch.zeros(2, dtype=torch.bfloat16)
    save_file(weights, folder / "model.safetensors")
    report = inspect(folder)
    encoder, projector, decoder = report.parts
    assert (encoder.part, projector.part, decoder.part) == tuple(Part)
    assert not encoder.differences
    assert projector.differences.extra == ("model.mm_projector.readout.4.bias",)
    assert projector.dtypes == ("BF16", "F32")
    assert decoder.differences.missing == ("model.norm.weight",)
    assert report.digests is None


def test_missing_shards_are_reported(tmp_path: Path) -> None:
    """A download that broke off: which files to fetch again."""
    folder = write_untrained(tmp_path, seed=0, num_shards=3).path
    for shard in (1, 3):
        (folder / f"model-0000{shard}-of-00003.safetensors").unlink()
    report = inspect(folder)
    assert report.missing_files == ("model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors")
    assert all(part.differences.missing for part in report.parts)
    assert report.manifest_matches is False


def test_a_manifest_of_other_weights_is_reported(tmp_path: Path, untrained: Checkpoint) -> None:
    folder = Path(shutil.copytree(untrained.path, tmp_path / "other"))
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    report = inspect(folder)
    assert report.manifest_matches is False
    assert not report.complete


@pytest.mark.parametrize("content", ["{}", '{"decoder": {"type": "ByteLevel"}, "added_tokens": [5]}', "[", "half"])
def test_a_broken_tokenizer_is_reported(tmp_path: Path, untrained: Checkpoint, content: str) -> None:
    """The weights are all there, yet no service could start with the folder."""
    folder = Path(shutil.copytree(untrained.path, tmp_path / "other"))
    whole = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(whole.replace('"model"', '"mode"') if content == "half" else content)
    report = inspect(folder)
    assert report.tokenizer_fault is not None
    assert "tokenizer.json" in report.tokenizer_fault
    assert not report.complete


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config.json is missing"):
        inspect(tmp_path)
