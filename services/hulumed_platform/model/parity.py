"""Runs our code beside recorded results of the published code, on a checkpoint folder with a `golden.safetensors`.

A case `NAME` is recognised by its tensor `NAME.frames_u8`. What the folder records of it is checked; what it does not
is reported as not checked. Every value must lie within `1e-4 + 1e-5 * largest` of the recorded one, `largest` being the
largest magnitude of the recorded tensor; where that is of a shorter type, four steps of the type replace both numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hulumed_platform.imaging.patches import novelty, patchify
from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.compression import KeepRule, Policy
from hulumed_platform.model.config import HuluMedConfig
from hulumed_platform.model.errors import CheckpointError
from hulumed_platform.model.language import LanguageModel
from hulumed_platform.model.projection import Projector
from hulumed_platform.model.vision import VisionEncoder

GOLDEN_FILE = "golden.safetensors"
# Float32 rounds differently in sums of another order. Worst seen over 60 random checkpoints of other sizes: features
# 1.3e-5, projected 2.1e-4 beside values of 76, logits 1.6e-5.
ABSOLUTE_TOLERANCE = 1e-4
RELATIVE_TOLERANCE = 1e-5

_FRAMES = ".frames_u8"


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a tensor is from the recorded one."""

    largest: float
    """Largest absolute difference; infinite where the shapes differ, NaN where a value is."""
    within_tolerance: bool


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The comparison of one case; None is not checked."""

    case: str
    patches: Deviation | None
    """Normalised patches."""
    features: Deviation | None
    """Encoder output after the merge."""
    projected: Deviation | None
    """Projected tokens, before compression."""
    mask_equal: bool | None
    """Kept tokens, by the published rule with its defect."""
    logits: Deviation | None
    """At every position of the compressed prompt."""
    tokens_equal: bool | None
    """Greedy tokens, end tokens ignored."""

    @property
    def not_checked(self) -> tuple[str, ...]:
        """Names of what the folder does not record."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is None)

    @property
    def passed(self) -> bool:
        """Whether everything checked agrees, and something was checked."""
        deviations = (self.patches, self.features, self.projected, self.logits)
        verdicts = [deviation.within_tolerance for deviation in deviations if deviation is not None]
        verdicts += [equal for equal in (self.mask_equal, self.tokens_equal) if equal is not None]
        return bool(verdicts) and all(verdicts)


def run(golden_dir: Path) -> list[CaseResult]:
    """Compares every case of a folder, on the CPU, in the type the results were recorded in.

    Raises:
        CheckpointError: the folder is no checkpoint, or its record cannot be read or contradicts itself.
    """
    golden = _read_golden(golden_dir / GOLDEN_FILE)
    cases = sorted(name.removesuffix(_FRAMES) for name in golden if name.endswith(_FRAMES))
    if not cases:
        raise CheckpointError(f"{golden_dir / GOLDEN_FILE} holds no case: no tensor is named CASE{_FRAMES}")
    models = _Models.load(golden_dir, _recorded_dtype(golden))
    return [_run_case(case, models, _of_case(golden, case)) for case in cases]


@dataclass(frozen=True, slots=True)
class _Models:
    config: HuluMedConfig
    encoder: VisionEncoder
    projector: Projector
    language: LanguageModel
    rule: KeepRule

    @classmethod
    def load(cls, golden_dir: Path, dtype: torch.dtype | None) -> "_Models":
        checkpoint = Checkpoint.open(golden_dir)
        device = torch.device("cpu")
        return cls(
            checkpoint.config,
            checkpoint.load_encoder(device, dtype),
            checkpoint.load_projector(device, dtype),
            checkpoint.load_language(device, dtype),
            KeepRule(Policy.UPSTREAM if checkpoint.config.use_token_compression else Policy.NONE),
        )


@dataclass(frozen=True, slots=True)
class _Item:
    """Planes of one grid."""

    patches: NDArray[np.uint8]
    """[planes, height * width, patch values]"""
    height: int
    width: int
    merge: int


@torch.inference_mode()
def _run_case(case: str, models: _Models, golden: Mapping[str, Tensor]) -> CaseResult:
    items = list(_items(case, golden, models.config.vision.patch_size))
    pixels = torch.cat([models.encoder.normalise(torch.from_numpy(item.patches)).flatten(0, 1) for item in items])
    features = torch.cat([_encode(models.encoder, item) for item in items])
    projected = models.projector(features)
    kept = torch.cat([_keep(models, item) for item in items])
    logits, tokens = _decode(case, models, projected, kept, golden)
    recorded_mask = golden.get("keep_mask")
    return CaseResult(
        case=case,
        patches=_deviation(pixels, golden.get("pixel_values")),
        features=_deviation(features, golden.get("encoder_out")),
        projected=_deviation(projected, golden.get("projected")),
        mask_equal=None if recorded_mask is None else torch.equal(kept, recorded_mask.flatten().bool()),
        logits=None if logits is None else _deviation(logits, golden.get("logits")),
        tokens_equal=None if tokens is None else tokens == golden["generated"].flatten().tolist(),
    )


def _items(case: str, golden: Mapping[str, Tensor], patch_size: int) -> Iterator[_Item]:
    frames = golden["frames_u8"].numpy()
    try:
        grids = golden["grid_sizes"].reshape(-1, 3).tolist()
        merges = golden["merge_sizes"].flatten().tolist()
    except KeyError as error:
        raise CheckpointError(f"case {case!r} lacks the tensor {case}.{error.args[0]}") from error
    if sum(planes for planes, _, _ in grids) != len(frames):
        raise CheckpointError(f"case {case!r}: grid_sizes speak of other planes than the {len(frames)} of frames_u8")
    if any(side % merge for (_, *sides), merge in zip(grids, merges, strict=True) for side in sides):
        raise CheckpointError(f"case {case!r}: a grid of {case}.grid_sizes does not divide by its merge size")
    start = 0
    for (planes, height, width), merge in zip(grids, merges, strict=True):
        resized = _resized(frames[start : start + planes], height * patch_size, width * patch_size)
        yield _Item(patchify(resized, patch_size=patch_size, merge=merge), height, width, merge)
        start += planes


def _resized(frames: NDArray[np.uint8], height_px: int, width_px: int) -> NDArray[np.uint8]:
    """Bicubic, as the published image processor; frames of the right size stay as they are."""
    if frames.shape[1:3] == (height_px, width_px):
        return frames
    size = (width_px, height_px)
    return np.stack([np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BICUBIC)) for f in frames])


def _encode(encoder: VisionEncoder, item: _Item) -> Tensor:
    features: Tensor = encoder(torch.from_numpy(item.patches), item.height, item.width, item.merge)
    return features.flatten(0, 1)


def _keep(models: _Models, item: _Item) -> Tensor:
    """Mask of all tokens of an item; images are items of one plane, which the rule keeps whole."""
    num_planes = len(item.patches)
    tokens_per_plane = item.height * item.width // item.merge**2
    masks = [
        models.rule.keep(
            _novelty(models, item, plane) if plane else np.full(tokens_per_plane, np.inf, dtype=np.float32),
            plane=plane,
            num_planes=num_planes,
            compressible=True,
        )
        for plane in range(num_planes)
    ]
    return torch.from_numpy(np.concatenate(masks))


def _novelty(models: _Models, item: _Item, plane: int) -> NDArray[np.float32]:
    """Novelty as ingest computes it, which knows the published deviation of 0.5 only; for others by its definition."""
    pair = item.patches[plane - 1 : plane + 1]
    if set(models.config.vision.pixel_std) == {0.5}:
        return novelty(pair[1], pair[0], item.merge)
    before, current = models.encoder.normalise(torch.from_numpy(pair))
    distance: NDArray[np.float32] = (
        (current - before).abs().view(-1, item.merge**2 * pair.shape[-1]).mean(dim=1).numpy()
    )
    return distance


def _decode(
    case: str, models: _Models, projected: Tensor, kept: Tensor, golden: Mapping[str, Tensor]
) -> tuple[Tensor | None, list[int] | None]:
    """Logits of the compressed prompt and the greedy tokens after it, each None where it is not recorded."""
    if "input_ids" not in golden or not {"logits", "generated"} & golden.keys():
        return None, None
    ids = golden["input_ids"].flatten()
    visual = ids == models.config.image_token_index
    if int(visual.sum()) != len(projected):
        raise CheckpointError(
            f"case {case!r}: input_ids hold {int(visual.sum())} image tokens for {len(projected)} visual tokens"
        )
    embeddings = models.language.embed(tuple(ids.tolist()))
    embeddings[visual] = projected
    stays = torch.ones_like(visual)
    stays[visual] = kept
    cache = models.language.new_cache()
    logits = models.language.forward(embeddings[stays], cache, all_logits=True)
    tokens: list[int] = []
    last = logits
    for _ in range(golden["generated"].numel() if "generated" in golden else 0):
        tokens.append(int(last[-1].argmax()))
        last = models.language.forward(models.language.embed((tokens[-1],)), cache)
    return logits, tokens if "generated" in golden else None


def _deviation(ours: Tensor, recorded: Tensor | None) -> Deviation | None:
    if recorded is None:
        return None
    recorded = recorded.reshape(-1, recorded.shape[-1])
    if ours.shape != recorded.shape:
        return Deviation(float("inf"), within_tolerance=False)
    step = 4 * torch.finfo(recorded.dtype).eps
    absolute, relative = max(ABSOLUTE_TOLERANCE, step), max(RELATIVE_TOLERANCE, step)
    error = float((ours.double() - recorded.double()).abs().max())
    # Comparisons with NaN are false: it is within no tolerance.
    return Deviation(error, error <= absolute + relative * float(recorded.abs().max()))


def _read_golden(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as a record of the published code: {error}") from error


def _recorded_dtype(golden: Mapping[str, Tensor]) -> torch.dtype | None:
    """Type of the recorded computation; None where no result of it is recorded."""
    results = (".logits", ".projected", ".encoder_out")
    return next((golden[name].dtype for name in sorted(golden) if name.endswith(results)), None)


def _of_case(golden: Mapping[str, Tensor], case: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{case}."): tensor for name, tensor in golden.items() if name.startswith(f"{case}.")}
