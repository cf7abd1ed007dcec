"""Runs our code beside recorded results of the published code, on a checkpoint folder with a `golden.safetensors`.

A case passes when all its results are recorded and ours agree. Every value must lie within `1e-4 + 1e-5 * largest` of
the recorded one, `largest` being the largest magnitude of the recorded tensor; where that is of a shorter type, four
steps of the type replace both numbers.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hulumed_platform.imaging.patches import novelty, patchify
from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.compression import KeepRule, Policy
from hulumed_platform.model.config import HuluMedConfig
from hulumed_platform.model.errors import CheckpointError
from hulumed_platform.model.golden import GoldenCase, GoldenItem, read_cases
from hulumed_platform.model.language import LanguageModel
from hulumed_platform.model.projection import Projector
from hulumed_platform.model.vision import VisionEncoder

# Float32 rounds differently in sums of another order. Worst seen over 60 random checkpoints of other sizes: features
# 1.3e-5, projected 2.1e-4 beside values of 76, logits 1.6e-5.
ABSOLUTE_TOLERANCE = 1e-4
RELATIVE_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far a tensor is from the recorded one."""

    largest: float
    """Largest absolute difference; infinite where the shapes differ, NaN where a value is."""
    within_tolerance: bool


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The comparison of one case; None is not recorded, or of planes that a case of text alone does not have."""

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
    not_recorded: tuple[str, ...]
    """Tensors that the folder should hold for this case and does not."""

    @property
    def agrees(self) -> bool:
        """Whether all that was compared agrees."""
        deviations = (self.patches, self.features, self.projected, self.logits)
        within = all(deviation is None or deviation.within_tolerance for deviation in deviations)
        return within and self.mask_equal is not False and self.tokens_equal is not False

    @property
    def passed(self) -> bool:
        """Whether everything was compared and agrees."""
        return self.agrees and not self.not_recorded


def run(golden_dir: Path) -> list[CaseResult]:
    """Compares every case of a folder, on the CPU, in the type the results were recorded in.

    Raises:
        CheckpointError: the folder is no checkpoint, or its record cannot be read or contradicts itself.
    """
    cases = read_cases(golden_dir)
    models = _Models.load(golden_dir, _recorded_dtype(cases))
    return [_run_case(case, models) for case in cases]


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


@dataclass(frozen=True, slots=True, eq=False)
class _Planes:
    """What our code makes of the planes of a case."""

    pixels: Tensor
    features: Tensor
    projected: Tensor
    kept: Tensor


@torch.inference_mode()
def _run_case(case: GoldenCase, models: _Models) -> CaseResult:
    recorded = case.recorded
    planes = _planes(case.items, models) if case.items else None
    logits, tokens = _decode(case, models, planes)
    return CaseResult(
        case=case.name,
        patches=_deviation(planes.pixels if planes else None, recorded.get("pixel_values")),
        features=_deviation(planes.features if planes else None, recorded.get("encoder_out")),
        projected=_deviation(planes.projected if planes else None, recorded.get("projected")),
        mask_equal=None if planes is None else _equal_mask(planes.kept, recorded.get("keep_mask")),
        logits=_deviation(logits, recorded.get("logits")),
        tokens_equal=tokens == recorded["generated"].flatten().tolist() if tokens else None,
        not_recorded=case.missing,
    )


def _planes(items: tuple[GoldenItem, ...], models: _Models) -> _Planes:
    patches = [_patches(item, models.config.vision.patch_size) for item in items]
    pixels = [models.encoder.normalise(torch.from_numpy(patch)).flatten(0, 1) for patch in patches]
    features = torch.cat([_encode(models.encoder, item, patch) for item, patch in zip(items, patches, strict=True)])
    kept = [_keep(models, item, patch) for item, patch in zip(items, patches, strict=True)]
    return _Planes(torch.cat(pixels), features, models.projector(features), torch.cat(kept))


def _patches(item: GoldenItem, patch_size: int) -> NDArray[np.uint8]:
    """[planes, height * width, patch values], of frames resized to the grid as the published image processor does."""
    frames, size = item.frames, (item.width * patch_size, item.height * patch_size)
    if frames.shape[2:0:-1] != size:
        frames = np.stack([np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BICUBIC)) for f in frames])
    return patchify(frames, patch_size=patch_size, merge=item.merge)


def _encode(encoder: VisionEncoder, item: GoldenItem, patches: NDArray[np.uint8]) -> Tensor:
    features: Tensor = encoder(torch.from_numpy(patches), item.height, item.width, item.merge)
    return features.flatten(0, 1)


def _keep(models: _Models, item: GoldenItem, patches: NDArray[np.uint8]) -> Tensor:
    """Mask of all tokens of an item; images are items of one plane, which the rule keeps whole."""
    num_planes = len(patches)
    tokens_per_plane = item.height * item.width // item.merge**2
    masks = [
        models.rule.keep(
            _novelty(models, patches[plane - 1 : plane + 1], item.merge)
            if plane
            else np.full(tokens_per_plane, np.inf, dtype=np.float32),
            plane=plane,
            num_planes=num_planes,
            compressible=True,
        )
        for plane in range(num_planes)
    ]
    return torch.from_numpy(np.concatenate(masks))


def _novelty(models: _Models, pair: NDArray[np.uint8], merge: int) -> NDArray[np.float32]:
    """Novelty as ingest computes it, which knows the published deviation of 0.5 only; for others by its definition."""
    if set(models.config.vision.pixel_std) == {0.5}:
        return novelty(pair[1], pair[0], merge)
    before, current = models.encoder.normalise(torch.from_numpy(pair))
    distance: NDArray[np.float32] = (current - before).abs().view(-1, merge**2 * pair.shape[-1]).mean(dim=1).numpy()
    return distance


def _decode(case: GoldenCase, models: _Models, planes: _Planes | None) -> tuple[Tensor | None, list[int]]:
    """Logits of the compressed prompt and the greedy tokens after it, as many as are recorded."""
    if "input_ids" not in case.recorded:
        return None, []
    prompt = _prompt(case, models, planes)
    cache = models.language.new_cache()
    logits = models.language.forward(prompt, cache, all_logits=True)
    tokens: list[int] = []
    last = logits
    for _ in range(case.recorded["generated"].numel() if "generated" in case.recorded else 0):
        tokens.append(int(last[-1].argmax()))
        last = models.language.forward(models.language.embed((tokens[-1],)), cache)
    return logits, tokens


def _prompt(case: GoldenCase, models: _Models, planes: _Planes | None) -> Tensor:
    """Embeddings of text and kept visual tokens."""
    ids = case.recorded["input_ids"].flatten()
    visual = ids == models.config.image_token_index
    num_visual = 0 if planes is None else len(planes.projected)
    if int(visual.sum()) != num_visual:
        raise CheckpointError(
            f"case {case.name!r}: input_ids hold {int(visual.sum())} image tokens for {num_visual} visual tokens"
        )
    num_rows = models.language.network.config.vocab_size
    if len(text := ids[~visual]) and not 0 <= int(text.min()) <= int(text.max()) < num_rows:
        raise CheckpointError(f"case {case.name!r}: input_ids hold ids outside the vocabulary of {num_rows}")
    embeddings = torch.empty(len(ids), models.language.hidden_size, dtype=models.language.dtype)
    embeddings[~visual] = models.language.embed(tuple(text.tolist()))
    if planes is None:
        return embeddings
    embeddings[visual] = planes.projected
    stays = torch.ones_like(visual)
    stays[visual] = planes.kept
    return embeddings[stays]


def _equal_mask(kept: Tensor, recorded: Tensor | None) -> bool | None:
    return None if recorded is None else torch.equal(kept, recorded.flatten().bool())


def _deviation(ours: Tensor | None, recorded: Tensor | None) -> Deviation | None:
    if ours is None or recorded is None:
        return None
    if ours.numel() != recorded.numel() or ours.shape[-1:] != recorded.shape[-1:]:
        return Deviation(float("inf"), within_tolerance=False)
    step = 4 * torch.finfo(recorded.dtype).eps
    absolute, relative = max(ABSOLUTE_TOLERANCE, step), max(RELATIVE_TOLERANCE, step)
    error = float((ours.double() - recorded.reshape(ours.shape).double()).abs().max())
    # Comparisons with NaN are false: it is within no tolerance.
    return Deviation(error, error <= absolute + relative * float(recorded.abs().max()))


def _recorded_dtype(cases: list[GoldenCase]) -> torch.dtype | None:
    """Type of the recorded computation; None where no result of it is recorded."""
    results = ("logits", "projected", "encoder_out")
    return next((case.recorded[name].dtype for name in results for case in cases if name in case.recorded), None)
