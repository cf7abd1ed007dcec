"""The vision encoder: a ViT with 2D rotary positions that reads one plane at a time.

Architecture as in the published Hulu-Med encoder (SigLIP blocks, patches of any grid, no position table, no pooling).
Attention never leaves a plane, so planes of equal grid form a plain batch: time and memory grow linearly with planes.

Shape suffixes: P planes, N patches of a plane, F values of a flat patch (588), D hidden size, H heads, C head
dimension, K tokens of a plane after the merge, T tokens that are kept.

The memory-bound steps run in `hulumed_kernels`: as Triton kernels on a GPU, as plain PyTorch elsewhere.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hulumed_kernels.dispatch import KernelChoice
from hulumed_kernels.merge_pack import merge_pack
from hulumed_kernels.patch_embed_input import patch_embed_input
from hulumed_kernels.rope2d import prepare, rope2d
from hulumed_kernels.rope2d.reference import angles
from hulumed_platform.model.config import VisionConfig

ROPE_THETA = 10000.0


class VisionEncoder(nn.Module):
    """Encodes planes of uint8 patches to visual features; `kernels` says how its memory-bound steps are done."""

    def __init__(self, config: VisionConfig, kernels: KernelChoice = KernelChoice.AUTO) -> None:
        super().__init__()
        self.config = config
        self.kernels = kernels
        self.embeddings = _Embeddings(config)
        self.encoder = _Blocks(config, kernels)
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
        x_PND = self._hidden(patches_PNF, height, width, merge)
        return merge_patches(x_PND, merge, self.kernels)

    def encode_kept(self, patches_PNF: Tensor, height: int, width: int, merge: int, keep_PK: Tensor) -> Tensor:
        """Returns the features of the kept tokens only, plane by plane: those of `forward` under the mask, [T, hidden].

        For who knows before encoding what will be kept, as training does: all other tokens are never written.

        Args:
            patches_PNF: as in `forward`, and so are `height`, `width` and `merge`.
            keep_PK: bool [P, height * width / merge²], best on the CPU.
        """
        return merge_pack(self._hidden(patches_PNF, height, width, merge), merge, keep_PK, choice=self.kernels)

    def _hidden(self, patches_PNF: Tensor, height: int, width: int, merge: int) -> Tensor:
        """The features of every patch, [P, N, D]."""
        if patches_PNF.shape[1] != height * width or height % merge or width % merge:
            raise ValueError(
                f"patches of shape {tuple(patches_PNF.shape)} do not form a grid {height} x {width} with merge {merge}"
            )
        positions_N2 = patch_positions(height, width, merge, patches_PNF.device)
        frequencies = rotary_frequencies(self.config.head_dim, patches_PNF.device)
        rotation = prepare(positions_N2, frequencies, choice=self.kernels)
        x_PND = self.embeddings(self.normalise(patches_PNF, self.embeddings.dtype))
        y_PND: Tensor = self.post_layernorm(self.encoder(x_PND, *rotation))
        return y_PND

    def normalise(self, patches_PNF: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Scales uint8 pixels to [0, 1], then by mean and deviation of their channel, in float32; then casts."""
        return patch_embed_input(patches_PNF, self.config.pixel_mean, self.config.pixel_std, dtype, choice=self.kernels)


class _Embeddings(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.patch_embedding = nn.Conv2d(config.num_channels, config.hidden_size, size, stride=size)

    def forward(self, pixels_PNF: Tensor) -> Tensor:
        # A convolution whose window is the whole patch is one matrix product.
        weight_DF = self.patch_embedding.weight.flatten(1)
        return F.linear(pixels_PNF, weight_DF, self.patch_embedding.bias)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, in which pixels have to come."""
        return self.patch_embedding.weight.dtype


class _Blocks(nn.Module):
    def __init__(self, config: VisionConfig, kernels: KernelChoice) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Block(config, kernels) for _ in range(config.num_layers))

    def forward(self, x_PND: Tensor, *rotation: Tensor) -> Tensor:
        for layer in self.layers:
            x_PND = layer(x_PND, *rotation)
        return x_PND


class _Block(nn.Module):
    def __init__(self, config: VisionConfig, kernels: KernelChoice) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = _Attention(config, kernels)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = _MLP(config)

    def forward(self, x_PND: Tensor, *rotation: Tensor) -> Tensor:
        x_PND = x_PND + self.self_attn(self.layer_norm1(x_PND), *rotation)
        y_PND: Tensor = x_PND + self.mlp(self.layer_norm2(x_PND))
        return y_PND


class _Attention(nn.Module):
    def __init__(self, config: VisionConfig, kernels: KernelChoice = KernelChoice.AUTO) -> None:
        super().__init__()
        self.kernels = kernels
        self.num_heads = config.num_heads
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_PND: Tensor, *rotation: Tensor) -> Tensor:
        q_PHNC, k_PHNC, v_PHNC = (
            projection(x_PND).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        q_PHNC, k_PHNC = rope2d(q_PHNC, k_PHNC, *rotation, choice=self.kernels)
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


def patch_positions(height: int, width: int, merge: int, device: torch.device) -> Tensor:
    """Row and column of every patch of a plane, int64 [N, 2], in merge-block order."""
    rows, columns = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    return torch.stack([block_order(rows, merge), block_order(columns, merge)], dim=-1)


def rotary_frequencies(head_dim: int, device: torch.device) -> Tensor:
    """Angle by which values of a head turn with each row or column, float32 [C / 4]."""
    exponents = torch.arange(0, head_dim // 2, 2, device=device, dtype=torch.float32) / (head_dim // 2)
    return 1.0 / ROPE_THETA**exponents


def rotary_angles(height: int, width: int, merge: int, head_dim: int, device: torch.device) -> Tensor:
    """Rotary angles of every patch of a plane, float32 [N, C], in merge-block order.

    A quarter of the head turns with the row of the patch, the next quarter with its column; both are repeated once, for
    the rotate-half convention.
    """
    return angles(patch_positions(height, width, merge, device), rotary_frequencies(head_dim, device))


def block_order(grid: Tensor, merge: int) -> Tensor:
    """Flattens a grid [height, width] of patches in merge-block order: block row, block column, row, column."""
    height, width = grid.shape
    return grid.view(height // merge, merge, width // merge, merge).transpose(1, 2).flatten()


def merge_patches(x_PND: Tensor, merge: int, kernels: KernelChoice = KernelChoice.AUTO) -> Tensor:
    """Merges each square of merge² patches, adjacent in merge-block order, into one token [P, K, D]."""
    planes, patches, hidden = x_PND.shape
    return merge_pack(x_PND, merge, choice=kernels).view(planes, patches // merge**2, hidden)
