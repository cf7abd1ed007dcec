"""The published SDPA path of the vision encoder, written plainly: what `VisionEncoder` is measured against.

All patches of all planes form one sequence. A boolean matrix over it says which patches may see each other: those of
the same plane. Its size, and the work of attention, grow with the square of the number of planes.

Shape suffixes: S patches of all planes, D hidden size, H heads, C head dimension, P planes.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hulumed_platform.model.vision import ROPE_THETA, VisionEncoder


@torch.inference_mode()
def encode_dense(encoder: VisionEncoder, patches_PNF: Tensor, height: int, width: int, merge: int) -> Tensor:
    """What `encoder` returns for the same arguments, computed with its weights over one sequence."""
    planes = patches_PNF.shape[0]
    mask_SS = block_diagonal(planes, height * width)
    angles_SC = _angles(height, width, merge, encoder.config.head_dim).repeat(planes, 1)
    x_SD = encoder.embeddings(encoder.normalise(patches_PNF)).flatten(0, 1)
    layers: Any = encoder.encoder.layers
    for layer in layers:
        x_SD = x_SD + _attention(layer.self_attn, layer.layer_norm1(x_SD), angles_SC, mask_SS)
        x_SD = x_SD + layer.mlp(layer.layer_norm2(x_SD))
    return _merge(encoder.post_layernorm(x_SD), planes, height, width, merge)


def block_diagonal(planes: int, patches: int) -> Tensor:
    """True where a patch may see another one, bool [S, S]. Made once a call, not once a layer as published."""
    mask_SS = torch.zeros(planes * patches, planes * patches, dtype=torch.bool)
    for start in range(0, planes * patches, patches):
        mask_SS[start : start + patches, start : start + patches] = True
    return mask_SS


def _attention(attention: Any, x_SD: Tensor, angles_SC: Tensor, mask_SS: Tensor) -> Tensor:
    q_HSC, k_HSC, v_HSC = (
        projection(x_SD).unflatten(-1, (attention.num_heads, -1)).transpose(0, 1)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    q_HSC, k_HSC = _rotate(q_HSC, angles_SC), _rotate(k_HSC, angles_SC)
    y_1HSC = F.scaled_dot_product_attention(q_HSC[None], k_HSC[None], v_HSC[None], attn_mask=mask_SS)
    y_SD: Tensor = attention.out_proj(y_1HSC[0].transpose(0, 1).flatten(1))
    return y_SD


def _angles(height: int, width: int, merge: int, head_dim: int) -> Tensor:
    """Angle of every patch of a plane, [N, C], from a plain walk over blocks, rows and columns."""
    quarter = head_dim // 4
    frequencies = 1.0 / ROPE_THETA ** (torch.arange(quarter) / quarter)
    positions = [
        (block_row + row, block_column + column)
        for block_row in range(0, height, merge)
        for block_column in range(0, width, merge)
        for row in range(merge)
        for column in range(merge)
    ]
    halves = [torch.cat([row * frequencies, column * frequencies]) for row, column in positions]
    return torch.stack(halves).repeat(1, 2)


def _rotate(x_HSC: Tensor, angles_SC: Tensor) -> Tensor:
    left, right = x_HSC.chunk(2, dim=-1)
    return x_HSC * angles_SC.cos() + torch.cat([-right, left], dim=-1) * angles_SC.sin()


def _merge(x_SD: Tensor, planes: int, height: int, width: int, merge: int) -> Tensor:
    """The published bilinear resize of the feature maps, in the order of blocks."""
    maps = x_SD.view(planes, height // merge, width // merge, merge, merge, -1).permute(0, 5, 1, 3, 2, 4)
    maps = maps.reshape(planes, -1, height, width)
    small = F.interpolate(maps, size=(height // merge, width // merge), mode="bilinear", align_corners=False)
    return small.flatten(2).transpose(1, 2)
