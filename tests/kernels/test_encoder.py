"""The encoder with kernels is the encoder without: features, gradients, and planes that do not see each other."""

import pytest
import torch
from torch import Tensor

from hulumed_kernels.dispatch import KernelChoice
from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.config import VisionConfig
from hulumed_platform.model.vision import VisionEncoder
from tests.kernels.checks import DEVICE, DTYPES, KERNEL, REFERENCE, guarded, random, random_pixels

CONFIG = VisionConfig(48, 80, 2, 2, 14, 3, "tanh", 1e-6, (0.5, 0.4, 0.3), (0.5, 0.25, 0.2))

# The blocks carry the roundings of the ops on. Worst seen in float32: 7e-7, and 5e-6 for a gradient.
TOLERANCE = {torch.float32: 2e-6, torch.float16: 1.5e-3, torch.bfloat16: 1.2e-2}


def encoder(choice: KernelChoice, dtype: torch.dtype = torch.float32) -> VisionEncoder:
    torch.manual_seed(0)
    return VisionEncoder(CONFIG, choice).to(DEVICE, dtype)


def error(actual: Tensor, expected: Tensor) -> float:
    difference = (actual.double() - expected.double()).detach()
    return float(difference.norm() / expected.detach().double().norm())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("height", "width", "merge"), [(3, 5, 1), (4, 6, 2)])
def test_features_and_gradients(dtype: torch.dtype, height: int, width: int, merge: int) -> None:
    patches = random_pixels(3, height * width, 588)
    ours, plain = encoder(KERNEL, dtype), encoder(REFERENCE, dtype)
    expected = plain(patches, height, width, merge)
    upstream = random(*expected.shape, dtype=dtype)
    expected.backward(upstream)
    with guarded():
        features = ours(patches, height, width, merge)
        features.backward(upstream)
    assert error(features, expected) <= TOLERANCE[dtype]
    for (name, weight), (_, other) in zip(ours.named_parameters(), plain.named_parameters(), strict=True):
        if "k_proj.bias" in name:
            continue  # a shift of all keys changes no attention: its gradient is rounding and nothing else
        assert weight.grad is not None
        assert other.grad is not None
        assert error(weight.grad, other.grad) <= 10 * TOLERANCE[dtype], name


@torch.inference_mode()
def test_planes_do_not_see_each_other() -> None:
    """Changing one plane leaves the features of the others bit-identical, with kernels too."""
    ours, patches = encoder(KERNEL), random_pixels(3, 24, 588)
    before = ours(patches, 4, 6, 2)
    patches[1] ^= 0x55
    after = ours(patches, 4, 6, 2)
    assert [torch.equal(one, other) for one, other in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize("choice", [KERNEL, REFERENCE])
@torch.inference_mode()
def test_what_is_kept_is_what_a_mask_would_leave(choice: KernelChoice) -> None:
    """The one-process model gathers inside the merge, the services after it: both see the same tokens."""
    ours, patches = encoder(choice), random_pixels(3, 24, 588)
    keep = torch.tensor([[True] * 6, [False, True, False, False, True, True], [True] + [False] * 5])
    assert torch.equal(ours.encode_kept(patches, 4, 6, 2, keep), ours(patches, 4, 6, 2)[keep.to(DEVICE)])


def test_choice_goes_down_to_every_layer(checkpoint_dir: object) -> None:
    loaded = Checkpoint.open(checkpoint_dir).load_encoder(DEVICE, kernels=REFERENCE)  # type: ignore[arg-type]
    choices = {module.kernels for module in loaded.modules() if hasattr(module, "kernels")}
    assert choices == {REFERENCE}
    assert all(hasattr(layer.self_attn, "kernels") for layer in loaded.encoder.layers)
