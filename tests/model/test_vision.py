"""The vision encoder: exact positions, planes that do not see each other, and the published size."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hulumed_platform.imaging.types import Kind
from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.config import VisionConfig
from hulumed_platform.model.vision import VisionEncoder, _Attention, block_order, merge_patches, rotary_angles
from tests.support.planes import ArrayPlanes, slowly_changing

CPU = torch.device("cpu")
HALF = (0.5, 0.5, 0.5)
PUBLISHED = VisionConfig(1152, 4304, 27, 16, 14, 3, "tanh", 1e-6, HALF, HALF)


@pytest.fixture(scope="module")
def encoder(untrained: Checkpoint) -> VisionEncoder:
    return untrained.load_encoder(CPU)


def random_patches(planes: int, patches: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (planes, patches, 588), dtype=torch.uint8, generator=generator)


def test_published_size() -> None:
    """The published encoder has 412,147,440 parameters."""
    with torch.device("meta"):
        encoder = VisionEncoder(PUBLISHED)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 412_147_440


@settings(max_examples=10, deadline=None)
@given(planes=st.integers(2, 5), changed=st.integers(0, 4), seed=st.integers(0, 2**31))
def test_planes_do_not_see_each_other(encoder: VisionEncoder, planes: int, changed: int, seed: int) -> None:
    """Changing one plane leaves the features of the others bit-identical."""
    patches = random_patches(planes, 24, seed)
    before = encoder(patches, 4, 6, 2)
    patches[changed % planes] ^= 0x55
    after = encoder(patches, 4, 6, 2)
    for plane in range(planes):
        assert torch.equal(before[plane], after[plane]) == (plane != changed % planes)


@pytest.mark.parametrize(("height", "width", "merge"), [(1, 1, 1), (3, 5, 1), (2, 2, 2), (4, 6, 2), (10, 2, 2)])
def test_batched_planes_equal_single_ones(encoder: VisionEncoder, height: int, width: int, merge: int) -> None:
    """How planes are batched is a matter of speed only."""
    patches = random_patches(3, height * width)
    together = encoder(patches, height, width, merge)
    alone = torch.cat([encoder(patch[None], height, width, merge) for patch in patches])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_token_count_is_the_planned_one(encoder: VisionEncoder) -> None:
    """A plan promises tokens before anything is encoded."""
    planes = ArrayPlanes.of((Kind.IMAGE, slowly_changing(1, 42, 70)), (Kind.VOLUME, slowly_changing(3, 56, 84)))
    for plane in planes.planes():
        item = planes.items[plane.item]
        features = encoder(torch.from_numpy(plane.patches)[None], item.height, item.width, item.merge)
        assert features.shape[1] == item.tokens_per_plane == len(plane.novelty)


@pytest.mark.parametrize("merge", [1, 2, 3, 4])
def test_merge_equals_the_bilinear_resize(merge: int) -> None:
    """The published code resizes the feature map; ours takes means in merge-block order, at any merge size."""
    height, width, hidden = 2 * merge, 3 * merge, 7
    grid = torch.randn(height, width, hidden)
    expected = F.interpolate(grid.permute(2, 0, 1)[None], size=(2, 3), mode="bilinear")[0].flatten(1).T
    order = block_order(torch.arange(height * width).view(height, width), merge)
    merged = merge_patches(grid.flatten(0, 1)[order][None], merge)[0]
    torch.testing.assert_close(merged, expected)


def test_rotary_angles_follow_rows_then_columns() -> None:
    """In merge-block order of a 4 x 6 grid, patch 7 is at row 1, column 3; patch 18 at row 3, column 2 and so on."""
    angles = rotary_angles(4, 6, 2, 72, CPU)
    positions = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)]
    frequencies = [10000 ** (-2 * k / 36) for k in range(18)]
    for patch, (row, column) in enumerate(positions):
        quarter = [row * f for f in frequencies] + [column * f for f in frequencies]
        expected = torch.tensor(quarter + quarter)
        torch.testing.assert_close(angles[patch], expected)


def test_pixels_are_normalised_by_channel() -> None:
    """Other checkpoints have other statistics; the channel is the slowest of a flat patch."""
    config = VisionConfig(8, 8, 1, 1, 14, 3, "none", 1e-6, (0.1, 0.2, 0.3), (0.5, 0.25, 1.0))
    values = VisionEncoder(config).normalise(torch.full((1, 1, 588), 255, dtype=torch.uint8))[0, 0]
    assert [round(value, 5) for value in values[[0, 195, 196, 391, 392, 587]].tolist()] == [
        1.8,
        1.8,
        3.2,
        3.2,
        0.7,
        0.7,
    ]


def test_attention_equals_a_dense_block_mask(encoder: VisionEncoder) -> None:
    """Planes as a batch equal the published one long sequence under a block-diagonal mask."""
    attention = _Attention(encoder.config)
    x = torch.randn(3, 8, 192)
    angles = rotary_angles(2, 4, 2, attention.q_proj.out_features // attention.num_heads, CPU)
    batched = attention(x, angles.cos(), angles.sin())

    mask = torch.kron(torch.eye(3), torch.ones(8, 8)).bool()
    cos, sin = angles.cos().repeat(3, 1), angles.sin().repeat(3, 1)
    q, k, v = (
        projection(x.flatten(0, 1)).view(24, 4, 48).transpose(0, 1)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    q, k = (y * cos + torch.cat([-y[..., 24:], y[..., :24]], dim=-1) * sin for y in (q, k))
    scores = (q @ k.transpose(1, 2) / math.sqrt(48)).masked_fill(~mask, -torch.inf)
    dense = attention.out_proj((scores.softmax(-1) @ v).transpose(0, 1).flatten(1))
    torch.testing.assert_close(batched.flatten(0, 1), dense, rtol=1e-4, atol=1e-5)


def test_a_wrong_grid_is_refused(encoder: VisionEncoder) -> None:
    for height, width, merge in ((4, 5, 1), (3, 8, 2)):
        with pytest.raises(ValueError, match="do not form a grid"):
            encoder(random_patches(1, 24), height, width, merge)
