"""The vision encoder: a ViT with 2D rotary positions that reads one plane at a time.

Architecture as in the published Hulu-Med encoder (SigLIP blocks, patches of any grid, no position table, no pooling).
Attention never leaves a plane, so planes of equal grid form a plain batch: time and memory grow linearly with planes.

Shape suffixes: P planes, N patches of a plane, F values of a flat patch (588), D hidden size, H heads, C head
dimension, K tokens of a plane after the merge, M patches merged into a token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hulumed_platform.model.config import VisionConfig

ROPE_THETA = 10000.0


class VisionEncoder(nn.Module):
    """Encodes planes of uint8 patches to visual features."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = _Blocks(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, patches_PNF: Tensor, height: int, width: int, merge: int) -> Tensor:
        """Returns the features of every plane, [P, height * width / merge², hidden], in the dtype of the weights.

        Args:
            patches_PNF: uint8 [P, height * width, 588], values in channel, row, column order, patches in merge-block
                order (block row, block column, row in block, column in block).
            height: patch rows of a plane.
            width: patch columns of a plane.
            merge: side of the square of patches that becomes one token; divides height and width.
        """
        if patches_PNF.shape[1] != height * width or height % merge or width % merge:
            raise ValueError(
                f"patches of shape {tuple(patches_PNF.shape)} do not form a grid {height} x {width} with merge {merge}"
            )
        x_PND = self.embeddings(self.normalise(patches_PNF))
        rotation = rotary_angles(height, width, merge, self.config.head_dim, x_PND.device)
        x_PND = self.encoder(x_PND, rotation.cos(), rotation.sin())
        return merge_patches(self.post_layernorm(x_PND), merge)

    def normalise(self, patches_PNF: Tensor) -> Tensor:
        """Scales uint8 pixels to [0, 1], then by mean and deviation of their channel, in float32."""
        area = self.config.patch_size**2
        mean_F, std_F = (
            torch.tensor(values, device=patches_PNF.device).repeat_interleave(area)
            for values in (self.config.pixel_mean, self.config.pixel_std)
        )
        return (patches_PNF.float() / 255.0 - mean_F) / std_F


class _Embeddings(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.patch_embedding = nn.Conv2d(config.num_channels, config.hidden_size, size, stride=size)

    def forward(self, pixels_PNF: Tensor) -> Tensor:
        # A convolution whose window is the whole patch is one matrix product.
        weight_DF = self.patch_embedding.weight.flatten(1)
        return F.linear(pixels_PNF.to(weight_DF.dtype), weight_DF, self.patch_embedding.bias)


class _Blocks(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Block(config) for _ in range(config.num_layers))

    def forward(self, x_PND: Tensor, cos_NC: Tensor, sin_NC: Tensor) -> Tensor:
        for layer in self.layers:
            x_PND = layer(x_PND, cos_NC, sin_NC)
        return x_PND


class _Block(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = _Attention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = _MLP(config)

    def forward(self, x_PND: Tensor, cos_NC: Tensor, sin_NC: Tensor) -> Tensor:
        x_PND = x_PND + self.self_attn(self.layer_norm1(x_PND), cos_NC, sin_NC)
        y_PND: Tensor = x_PND + self.mlp(self.layer_norm2(x_PND))
        return y_PND


class _Attention(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_PND: Tensor, cos_NC: Tensor, sin_NC: Tensor) -> Tensor:
        q_PHNC, k_PHNC, v_PHNC = (
            projection(x_PND).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        q_PHNC, k_PHNC = rotate(q_PHNC, cos_NC, sin_NC), rotate(k_PHNC, cos_NC, sin_NC)
        y_PHNC = F.scaled_dot_product_attention(q_PHNC, k_PHNC, v_PHNC)
        y_PND: Tensor = self.out_proj(y_PHNC.transpose(1, 2).flatten(2))
        return y_PND


class _MLP(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.gelu = config.gelu
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x_PND: Tensor) -> Tensor:
        y_PND: Tensor = self.fc2(F.gelu(self.fc1(x_PND), approximate=self.gelu))
        return y_PND


def rotary_angles(height: int, width: int, merge: int, head_dim: int, device: torch.device) -> Tensor:
    """Rotary angles of every patch of a plane, float32 [N, C], in merge-block order.

    A quarter of the head turns with the row of the patch, the next quarter with its column; both are repeated once, for
    the rotate-half convention.
    """
    rows, columns = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    positions_N2 = torch.stack([block_order(rows, merge), block_order(columns, merge)], dim=-1)
    exponents = torch.arange(0, head_dim // 2, 2, device=device, dtype=torch.float32) / (head_dim // 2)
    angles_NC = (positions_N2[..., None] * (1.0 / ROPE_THETA**exponents)).flatten(1)
    return angles_NC.repeat(1, 2)


def block_order(grid: Tensor, merge: int) -> Tensor:
    """Flattens a grid [height, width] of patches in merge-block order: block row, block column, row, column."""
    height, width = grid.shape
    return grid.view(height // merge, merge, width // merge, merge).transpose(1, 2).flatten()


def rotate(x_PHNC: Tensor, cos_NC: Tensor, sin_NC: Tensor) -> Tensor:
    """Turns queries or keys by their rotary angles, in float32 whatever their dtype."""
    x = x_PHNC.float()
    left, right = x.chunk(2, dim=-1)
    return (x * cos_NC + torch.cat([-right, left], dim=-1) * sin_NC).to(x_PHNC.dtype)


def merge_patches(x_PND: Tensor, merge: int) -> Tensor:
    """Merges each square of merge² patches, adjacent in merge-block order, into one token [P, K, D].

    Equals the published bilinear resize to 1/merge (align_corners=False), which samples the middle of the square: its
    centre patch when merge is odd, the mean of its four centre patches when even, which at 2 are all of them.
    """
    planes, patches, hidden = x_PND.shape
    squares = x_PND.view(planes, patches // merge**2, merge, merge, hidden)
    centre = slice((merge - 1) // 2, merge // 2 + 1)
    merged_PKD: Tensor = squares[:, :, centre, centre].mean(dim=(2, 3))
    return merged_PKD
