"""Every published layout loads to the same model, and what is wrong with a folder is named in full."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hulumed_platform.model.checkpoint import Checkpoint, build_part
from hulumed_platform.model.config import Family, HuluMedConfig
from hulumed_platform.model.digests import Manifest, file_sizes
from hulumed_platform.model.errors import CheckpointError
from hulumed_platform.model.weights import Layout, Part
from tests.model.conftest import GOLDENS

CPU = torch.device("cpu")
DOUBLED, SINGLE = "model.vision_encoder.vision_encoder.", "model.vision_encoder."
Weights = dict[str, Tensor]


def make(folder: Path, weights: Mapping[str, Tensor], fields: Mapping[str, object], source: str = "q2") -> Path:
    """Writes a checkpoint with the configuration of a golden one, `fields` changed and None removed."""
    folder.mkdir()
    config = json.loads((GOLDENS / source / "config.json").read_text()) | dict(fields)
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    save_file(dict(weights), folder / "model.safetensors")
    return folder


def golden_weights(source: str = "q2") -> Weights:
    return load_file(GOLDENS / source / "model.safetensors")


def embedded() -> dict[str, object]:
    """Fields of the later layout: the vision configuration inside `config.json`."""
    vision = json.loads((GOLDENS / "q2" / "vision_navit" / "config.json").read_text())
    return {"vision_encoder_config": vision, "vision_encoder": None, "mm_vision_encoder": None}


def single_prefix(folder: Path) -> Path:
    weights = {name.replace(DOUBLED, SINGLE): tensor for name, tensor in golden_weights().items()}
    return make(folder, weights, embedded())


def separate_encoder(folder: Path) -> Path:
    """The configuration names the folder by its path on the authors' machine."""
    weights = golden_weights()
    vision = {name: weights.pop(name) for name in list(weights) if name.startswith(DOUBLED)}
    make(folder, weights, {"vision_encoder": "/data/weights/vision_navit", "mm_vision_encoder": None})
    shutil.copytree(GOLDENS / "q2" / "vision_navit", folder / "vision_navit")
    vision = {name.removeprefix(DOUBLED): tensor for name, tensor in vision.items()}
    save_file(vision, folder / "vision_navit" / "model.safetensors")
    return folder


def sharded(folder: Path) -> Path:
    """One shard a part."""
    weights = golden_weights()
    make(folder, {}, embedded())
    (folder / "model.safetensors").unlink()
    shards = {"vision": SINGLE, "projector": "model.mm_projector.", "decoder": ""}
    weight_map: dict[str, str] = {}
    for shard, prefix in shards.items():
        names = [name for name in weights if name.startswith(prefix) and name not in weight_map]
        save_file({name: weights[name] for name in names}, folder / f"{shard}.safetensors")
        weight_map |= dict.fromkeys(names, f"{shard}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def load_all(checkpoint: Checkpoint) -> list[Weights]:
    encoder, projector = checkpoint.load_encoder(CPU), checkpoint.load_projector(CPU)
    network = checkpoint.load_language(CPU).network
    return [encoder.state_dict(), projector.state_dict(), network.state_dict()]


@pytest.mark.parametrize(
    ("write", "layout"),
    [(single_prefix, Layout.SINGLE), (separate_encoder, Layout.SEPARATE), (sharded, Layout.DOUBLED)],
)
def test_layouts_load_to_the_same_model(tmp_path: Path, write: Callable[[Path], Path], layout: Layout) -> None:
    """Digests do not depend on the layout either, so services may load copies in different ones."""
    original, other = Checkpoint.open(GOLDENS / "q2"), Checkpoint.open(write(tmp_path / "other"))
    assert other.weights.layout is layout
    assert other.digests() == original.digests()
    for expected, found in zip(load_all(original), load_all(other), strict=True):
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_weights_beside_the_decoder_win_over_the_encoder_folder(tmp_path: Path) -> None:
    """The folder holds the encoder before the model was trained; the main file the tuned one."""
    both, alone = Checkpoint.open(GOLDENS / "q2"), Checkpoint.open(single_prefix(tmp_path / "alone"))
    assert both.digests() == alone.digests()
    stale = load_file(GOLDENS / "q2" / "vision_navit" / "model.safetensors")["post_layernorm.weight"]
    assert not torch.equal(both.load_encoder(CPU).post_layernorm.weight, stale)


@pytest.mark.parametrize("stored", [False, True])
def test_tied_output(tmp_path: Path, stored: bool) -> None:
    """A tied lm_head may be missing; where it is stored all the same, the embeddings are the output."""
    weights = golden_weights()
    if not stored:
        del weights["lm_head.weight"]
    checkpoint = Checkpoint.open(make(tmp_path / "tied", weights, embedded() | {"tie_word_embeddings": True}))
    network = checkpoint.load_language(CPU).network
    assert torch.equal(network.lm_head.weight, weights["model.embed_tokens.weight"])
    assert network.lm_head.weight is network.model.embed_tokens.weight


def test_the_family_is_told_by_name_or_by_weights(tmp_path: Path) -> None:
    """The published Qwen3 package writes hulumed_qwen2 too."""
    assert Checkpoint.open(GOLDENS / "q2").config.family is Family.QWEN2
    assert Checkpoint.open(GOLDENS / "q3").config.family is Family.QWEN3
    named = make(tmp_path / "named", golden_weights("q3"), embedded() | {"model_type": "hulumed_qwen3"}, "q3")
    assert Checkpoint.open(named).config.family is Family.QWEN3


def test_every_wrong_tensor_is_named(tmp_path: Path) -> None:
    """One message tells all that is wrong with a part; other parts still load."""
    weights = golden_weights()
    del weights["model.norm.weight"]
    del weights["model.layers.1.self_attn.q_proj.bias"]
    weights["model.layers.7.mlp.up_proj.weight"] = torch.zeros(1)
    weights["lm_head.weight"] = weights["lm_head.weight"][:5].clone()
    checkpoint = Checkpoint.open(make(tmp_path / "broken", weights, embedded()))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_language(CPU)
    with pytest.raises(CheckpointError, match=r"missing: .*model.norm.weight"):
        checkpoint.digests()
    message = str(caught.value)
    assert "missing: model.layers.1.self_attn.q_proj.bias, model.norm.weight" in message
    assert "extra: model.layers.7.mlp.up_proj.weight" in message
    assert "misshapen: lm_head.weight: found [5, 64], expected [320, 64]" in message
    checkpoint.load_encoder(CPU)
    checkpoint.load_projector(CPU)


def test_only_the_part_asked_for_is_read(tmp_path: Path) -> None:
    """A service that holds only its own shard still starts."""
    checkpoint = Checkpoint.open(sharded(tmp_path / "sharded"))
    (tmp_path / "sharded" / "decoder.safetensors").unlink()
    (tmp_path / "sharded" / "vision.safetensors").unlink()
    checkpoint.load_projector(CPU)
    with pytest.raises(CheckpointError, match=r"lacks files .* for the decoder: decoder.safetensors"):
        checkpoint.load_language(CPU)


def test_encoder_and_projector_load_without_transformers() -> None:
    """It takes seconds to import, and only the decoder needs it."""
    code = (
        "import sys, torch; sys.modules['transformers'] = None; from pathlib import Path\n"
        "from hulumed_platform.model.checkpoint import Checkpoint\n"
        f"checkpoint = Checkpoint.open(Path({str(GOLDENS / 'q3')!r}))\n"
        "checkpoint.load_encoder(torch.device('cpu')), checkpoint.load_projector(torch.device('cpu'))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_weights_are_mapped_not_copied() -> None:
    """On the CPU, in the stored type, a weight is the file itself: processes share the pages."""
    projector = Checkpoint.open(GOLDENS / "q2").load_projector(CPU)
    assert projector.state_dict()["readout.0.weight"].data_ptr() in _mapped_range("model.safetensors")


def _mapped_range(name: str) -> range:
    (line,) = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(f"q2/{name}")][:1]
    start, end = (int(address, 16) for address in line.split()[0].split("-"))
    return range(start, end)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_type_can_be_chosen(dtype: torch.dtype) -> None:
    checkpoint = Checkpoint.open(GOLDENS / "q3")
    assert checkpoint.load_language(CPU, dtype).dtype == dtype
    assert checkpoint.load_encoder(CPU, dtype).post_layernorm.weight.dtype == dtype


def test_a_changed_weight_changes_its_digest_alone(tmp_path: Path) -> None:
    weights = golden_weights()
    weights["model.mm_projector.readout.0.bias"][0] += 1
    changed = Checkpoint.open(make(tmp_path / "changed", weights, embedded())).digests()
    original = Checkpoint.open(GOLDENS / "q2").digests()
    assert (changed.encoder, changed.decoder) == (original.encoder, original.decoder)
    assert changed.projector != original.projector
    assert changed.checkpoint != original.checkpoint


def test_weights_that_differ_from_the_manifest_are_refused(tmp_path: Path) -> None:
    """A file half replaced, of the same size: the part that is loaded is hashed."""
    folder = single_prefix(tmp_path / "manifest")
    checkpoint = Checkpoint.open(folder)
    Manifest(checkpoint.compute_digests(), file_sizes(folder, checkpoint.weights)).write(folder)
    assert checkpoint.digests() == checkpoint.compute_digests()
    checkpoint.load_projector(CPU)

    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"the decoder weights in .* are not those of its manifest"):
        checkpoint.load_language(CPU)
    checkpoint.load_projector(CPU)

    save_file(weights | {"model.more": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"not those of its manifest: model.safetensors"):
        checkpoint.digests()


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def drop_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def drop_field(folder: Path) -> None:
    fields = json.loads((folder / "config.json").read_text())
    del fields["hidden_size"]
    (folder / "config.json").write_text(json.dumps(fields))


def drop_encoder_folder(folder: Path) -> None:
    shutil.rmtree(folder / "vision_navit")


def drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def truncate_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def store_twice(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.startswith(DOUBLED))
    save_file(weights | {name.replace(DOUBLED, SINGLE): weights[name].clone()}, folder / "model.safetensors")


def other_activation(folder: Path) -> None:
    fields = json.loads((folder / "vision_navit" / "config.json").read_text()) | {"hidden_act": "relu"}
    (folder / "vision_navit" / "config.json").write_text(json.dumps(fields))


def other_projector(folder: Path) -> None:
    fields = json.loads((folder / "config.json").read_text()) | {"mm_projector_type": "simp_spatial_conv"}
    (folder / "config.json").write_text(json.dumps(fields))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_config, "cannot be read as JSON"),
        (drop_config, "is missing; name the folder of a published checkpoint"),
        (drop_field, "lacks the field 'hidden_size'"),
        (drop_encoder_folder, "put that folder beside config.json"),
        (drop_weights, "holds no model.safetensors"),
        (truncate_weights, "cannot be read as safetensors"),
        (store_twice, "twice, under the doubled and the single prefix"),
        (other_activation, "vision activation 'relu' is not supported"),
        (other_projector, "projector type 'simp_spatial_conv' is not supported"),
    ],
)
def test_a_damaged_folder_is_refused_with_advice(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    folder = Path(shutil.copytree(GOLDENS / "q2", tmp_path / "damaged"))
    damage(folder)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.open(folder)


CONFIG, VISION, PIXELS = "config.json", "vision_navit/config.json", "vision_navit/preprocessor_config.json"


@pytest.mark.parametrize(
    ("file", "field", "value", "message"),
    [
        (CONFIG, "hidden_size", "64", "'hidden_size' must be a whole number, not '64'"),
        (CONFIG, "hidden_size", None, "lacks the field 'hidden_size'"),
        (CONFIG, "vocab_size", 0, "'vocab_size' must be a whole number from 1"),
        (CONFIG, "num_hidden_layers", 10**9, "'num_hidden_layers' must be a whole number from 1 to 1000"),
        (CONFIG, "num_attention_heads", 3, "3 attention heads .* form no decoder"),
        (CONFIG, "head_dim", 15, "form no decoder"),
        (CONFIG, "tie_word_embeddings", "no", "'tie_word_embeddings' must be true or false"),
        (CONFIG, "model_type", 7, "'model_type' must be a text"),
        (CONFIG, "vision_encoder_config", [1], "'vision_encoder_config' must be an object"),
        (VISION, "num_attention_heads", 5, "5 attention heads do not divide the vision hidden_size 48"),
        (VISION, "num_attention_heads", 24, "a multiple of 4"),
        (VISION, "num_channels", 1, "planes have 3 channels"),
        (PIXELS, "image_mean", [0.5], "'image_mean' must be 3 numbers"),
        (PIXELS, "image_std", [0.5, 0, 0.5], "'image_std' must be positive"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, file: str, field: str, value: object, message: str) -> None:
    """Whoever typed it learns where, without a traceback."""
    folder = Path(shutil.copytree(GOLDENS / "q2", tmp_path / "damaged"))
    fields = json.loads((folder / file).read_text()) | {field: value}
    (folder / file).write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=message) as caught:
        Checkpoint.open(folder)
    assert file in str(caught.value)


@pytest.mark.parametrize("fields", [{"hidden_act": "swish-9"}, {"rms_norm_eps": "small"}, {"rope_theta": "x"}])
def test_what_transformers_refuses_is_a_wrong_checkpoint(tmp_path: Path, fields: dict[str, object]) -> None:
    checkpoint = Checkpoint.open(make(tmp_path / "wrong", golden_weights(), embedded() | fields))
    with pytest.raises(CheckpointError, match=r"config\.json describe no decoder"):
        checkpoint.load_language(CPU)


def test_null_is_as_good_as_absent(tmp_path: Path) -> None:
    """Configurations written by transformers have null where a field has no value."""
    unset = make(tmp_path / "unset", golden_weights(), embedded())
    fields = json.loads((unset / "config.json").read_text()) | {"mm_projector_type": None, "image_token_index": None}
    (unset / "config.json").write_text(json.dumps(fields))
    config = Checkpoint.open(unset).config
    assert (config.projector.depth, config.image_token_index) == (2, -1)


@pytest.mark.parametrize("index", ["[]", "{}", '{"weight_map": [1]}', '{"weight_map": {"model.norm.weight": 1}}'])
def test_a_broken_index_is_refused(tmp_path: Path, index: str) -> None:
    folder = sharded(tmp_path / "sharded")
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json"):
        Checkpoint.open(folder)


PUBLISHED_VISION = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "patch_size": 14,
}


def decoder_fields(  # noqa: PLR0917 - a row of the table of published sizes
    hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, vocab: int, tie: bool
) -> dict[str, object]:
    return {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab,
        "tie_word_embeddings": tie,
        "head_dim": 128,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
    }


@pytest.mark.parametrize(
    ("family", "decoder", "billions"),
    [
        pytest.param("qwen3", decoder_fields(2560, 9728, 36, 32, 8, 151936, True), 4.44, id="4B"),
        pytest.param("qwen3", decoder_fields(2560, 9728, 36, 32, 8, 151936, False), 4.83, id="4B-untied"),
        pytest.param("qwen2", decoder_fields(3584, 18944, 28, 28, 4, 152064, False), 8.04, id="7B"),
        pytest.param("qwen3", decoder_fields(5120, 17408, 40, 40, 8, 151936, False), 15.21, id="14B"),
        pytest.param("qwen2", decoder_fields(5120, 27648, 64, 40, 8, 152064, False), 33.21, id="32B"),
    ],
)
def test_published_sizes(tmp_path: Path, family: str, decoder: dict[str, object], billions: float) -> None:
    """One code builds every published size: the totals are those of the published files."""
    fields = decoder | {"model_type": f"hulumed_{family}", "vision_encoder_config": PUBLISHED_VISION}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    config = HuluMedConfig.read(tmp_path)
    total = sum(parameter.numel() for part in Part for parameter in build_part(config, part).parameters())
    assert round(total / 1e9, 2) == billions
