"""Our code computes what the published code computed."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hulumed_platform.model import parity
from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.errors import CheckpointError
from tests.model.conftest import GOLDENS


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder of results that may be tampered with."""
    return Path(shutil.copytree(GOLDENS / "q2", tmp_path / "q2"))


def tamper(folder: Path, **changes: torch.Tensor | None) -> None:
    """Replaces tensors of the video case by name, or removes them."""
    golden = {name: tensor for name, tensor in load_file(folder / "golden.safetensors").items() if "video" in name}
    golden |= {f"video.{name}": tensor for name, tensor in changes.items() if tensor is not None}
    for name in (name for name, tensor in changes.items() if tensor is None):
        del golden[f"video.{name}"]
    save_file(golden, folder / "golden.safetensors")


def recorded(name: str) -> torch.Tensor:
    return load_file(GOLDENS / "q2" / "golden.safetensors")[f"video.{name}"]


def test_equals_the_published_code(golden_dir: Path) -> None:
    """Patches, features, projected tokens, kept tokens, logits and greedy tokens of all cases, for both decoders."""
    results = parity.run(golden_dir)
    assert [result.case for result in results] == ["image", "video", "volume"]
    for result in results:
        assert result.not_recorded == ()
        assert result.passed, result


@pytest.mark.parametrize("name", ["pixel_values", "encoder_out", "projected", "logits"])
def test_a_small_error_fails(copy: Path, name: str) -> None:
    """A comparison that cannot fail proves nothing."""
    wrong = recorded(name)
    wrong.view(-1)[7] += 1e-3
    tamper(copy, **{name: wrong})
    (result,) = parity.run(copy)
    assert not result.passed


@pytest.mark.parametrize("name", ["keep_mask", "generated"])
def test_a_wrong_mask_or_token_fails(copy: Path, name: str) -> None:
    wrong = recorded(name)
    wrong.view(-1)[3] ^= 1
    tamper(copy, **{name: wrong})
    (result,) = parity.run(copy)
    assert not result.passed


def test_not_a_number_and_other_shapes_fail(copy: Path) -> None:
    """NaN compares with nothing, so it must not count as near."""
    tamper(copy, encoder_out=torch.full_like(recorded("encoder_out"), torch.nan), logits=recorded("logits")[:, 1:])
    (result,) = parity.run(copy)
    assert result.features is not None
    assert result.logits is not None
    assert not result.features.within_tolerance
    assert not result.logits.within_tolerance
    assert result.logits.largest == float("inf")


@pytest.mark.parametrize("name", ["pixel_values", "encoder_out", "projected", "keep_mask", "logits", "generated"])
def test_what_is_not_recorded_is_named_and_does_not_pass(copy: Path, name: str) -> None:
    """A record that lost a tensor, or spells its name otherwise, proves less than it seems to."""
    tamper(copy, **{name: None})
    (result,) = parity.run(copy)
    assert result.not_recorded == (name,)
    assert result.agrees
    assert not result.passed


@pytest.mark.parametrize("name", ["frames_u8", "grid_sizes", "merge_sizes"])
def test_a_case_without_its_input_is_an_error(copy: Path, name: str) -> None:
    """It must not drop out of sight and leave the other cases to pass."""
    tamper(copy, **{name: None})
    with pytest.raises(CheckpointError, match=f"case 'video' lacks the tensor video.{name}"):
        parity.run(copy)


def test_an_empty_tensor_records_nothing(copy: Path) -> None:
    """Otherwise no greedy token would equal no greedy token."""
    tamper(copy, generated=recorded("generated")[:, :0])
    (result,) = parity.run(copy)
    assert result.not_recorded == ("generated",)


def test_text_alone_is_a_case(copy: Path) -> None:
    """It has no planes to compare, only logits and tokens."""
    language = Checkpoint.open(copy).load_language(torch.device("cpu"))
    ids = (5, 6, 7)
    logits = language.forward(language.embed(ids), language.new_cache(), all_logits=True)
    token = logits[-1:].argmax(-1)
    case = {"input_ids": torch.tensor([ids]), "logits": logits[None].clone(), "generated": token}
    save_file({f"text.{name}": tensor for name, tensor in case.items()}, copy / "golden.safetensors")
    (result,) = parity.run(copy)
    assert result.passed
    assert (result.patches, result.mask_equal, result.tokens_equal) == (None, None, True)


def test_nothing_recorded_is_no_success(copy: Path) -> None:
    missing = ("pixel_values", "encoder_out", "projected", "keep_mask", "input_ids", "logits", "generated")
    tamper(copy, **dict.fromkeys(missing))
    (result,) = parity.run(copy)
    assert result.not_recorded == missing
    assert not result.passed


def test_frames_of_another_size_are_resized(copy: Path) -> None:
    """Recorded frames may be as they came, before the published resize to the grid."""
    tamper(copy, frames_u8=recorded("frames_u8").repeat_interleave(2, dim=1).repeat_interleave(2, dim=2))
    (result,) = parity.run(copy)
    assert result.patches is not None
    assert 0 < result.patches.largest < float("inf")


def test_several_items_in_one_case(copy: Path) -> None:
    """Rows of grid_sizes are items: the second one begins anew, so its first plane is not compared with the first's."""
    twice = {name: torch.cat([recorded(name)] * 2) for name in ("frames_u8", "pixel_values", "encoder_out")}
    twice |= {name: torch.cat([recorded(name)] * 2) for name in ("grid_sizes", "merge_sizes", "keep_mask")}
    tamper(copy, **twice, projected=None, input_ids=None)
    (result,) = parity.run(copy)
    assert result.agrees, result
    assert result.mask_equal


def test_another_normalisation_changes_what_is_kept(copy: Path) -> None:
    """The rule reads normalised pixels: with twice the deviation a change counts half as much."""
    preprocessor = copy / "vision_navit" / "preprocessor_config.json"
    fields = json.loads(preprocessor.read_text()) | {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    preprocessor.write_text(json.dumps(fields))
    pixels = (recorded("pixel_values") + 1) / 2
    tokens = pixels.view(5, -1, 4 * 588)
    kept = (tokens[1:] - tokens[:-1]).abs().mean(-1) > 0.1
    kept[:, 0] |= ~kept.any(1)
    first = torch.zeros_like(kept[:1])
    first[0, 0] = True
    mask = torch.cat([first, kept]).flatten().to(torch.uint8)
    assert not torch.equal(mask, recorded("keep_mask").flatten())
    tamper(copy, pixel_values=pixels, keep_mask=mask)
    (result,) = parity.run(copy)
    assert result.patches is not None
    assert result.patches.within_tolerance
    assert result.mask_equal


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_computes_in_the_recorded_type(copy: Path, dtype: torch.dtype) -> None:
    """A record in bfloat16 is compared with bfloat16 numbers, within its steps; float64 within 1e-4."""
    names = ("pixel_values", "encoder_out", "projected", "logits")
    tamper(copy, **{name: recorded(name).to(dtype) for name in names}, generated=None)
    (result,) = parity.run(copy)
    assert result.features is not None
    assert result.features.within_tolerance


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("input_ids", lambda t: t[:, 8:], "89 image tokens for 90 visual tokens"),
        ("input_ids", lambda t: t.where(t == 319, 320), "ids outside the vocabulary of 320"),
        ("input_ids", lambda t: t.where(t == 319, -1), "ids outside the vocabulary of 320"),
        ("input_ids", torch.Tensor.double, "video.input_ids must hold integers, not torch.float64"),
        ("generated", torch.Tensor.double, "video.generated must hold integers"),
        ("logits", torch.Tensor.long, "video.logits must hold floating point numbers"),
        ("frames_u8", lambda t: t[1:], "other planes than the 4"),
        ("frames_u8", lambda t: t[..., 0], r"uint8 \[planes, H, W, 3\], not uint8 \[5, 84, 168\]"),
        ("frames_u8", torch.Tensor.float, r"not float32 \[5, 84, 168, 3\]"),
        ("grid_sizes", lambda t: t[:, :2], "not one row of three numbers"),
        ("grid_sizes", lambda t: t * 0, "must be positive"),
        ("grid_sizes", lambda t: t + torch.tensor([0, 1, 0]), "does not divide by its merge size"),
        ("merge_sizes", lambda t: t * 0, "must be positive"),
        ("merge_sizes", lambda t: t.repeat(2), "not one row of three numbers"),
    ],
)
def test_contradictions_are_named(
    copy: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    """Whoever wrote the record learns what is wrong with it, without a traceback."""
    tamper(copy, **{name: change(recorded(name)).contiguous()})
    with pytest.raises(CheckpointError, match=message):
        parity.run(copy)


def test_a_folder_without_a_record_is_refused(copy: Path) -> None:
    save_file({"x": torch.zeros(1)}, copy / "golden.safetensors")
    with pytest.raises(CheckpointError, match="holds no case"):
        parity.run(copy)
    (copy / "golden.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        parity.run(copy)
