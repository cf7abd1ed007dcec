"""The published SDPA path of the encoder, for any device and type: one sequence under a dense mask of who sees whom.

Shape suffixes: S patches of all planes, D hidden size, H heads, C head dimension, P planes.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hulumed_kernels.merge_pack.reference import merge_patches
from hulumed_kernels.patch_embed_input.reference import patch_embed_input
from hulumed_kernels.rope2d.reference import rotate
from hulumed_platform.model.vision import VisionEncoder, rotary_angles


@torch.inference_mode()
def encode_published(encoder: VisionEncoder, patches_PNF: Tensor, height: int, width: int, merge: int) -> Tensor:
    """What the encoder returns for the same arguments, computed with its weights over one sequence."""
    planes, patches, _ = patches_PNF.shape
    config, weights = encoder.config, encoder.post_layernorm.weight
    mask_SS = block_diagonal(planes, patches, patches_PNF.device)
    angles_SC = rotary_angles(height, width, merge, config.head_dim, patches_PNF.device).repeat(planes, 1)
    tables = angles_SC.cos(), angles_SC.sin()
    x_SD = encoder.embeddings(patch_embed_input(patches_PNF, config.pixel_mean, config.pixel_std, weights.dtype))
    x_SD = x_SD.flatten(0, 1)
    layers: Any = encoder.encoder.layers
    for layer in layers:
        x_SD = x_SD + _attention(layer.self_attn, layer.layer_norm1(x_SD), tables, mask_SS)
        x_SD = x_SD + layer.mlp(layer.layer_norm2(x_SD))
    return merge_patches(encoder.post_layernorm(x_SD).view(planes, patches, -1), merge)


def block_diagonal(planes: int, patches: int, device: torch.device) -> Tensor:
    """True where a patch may see another one, bool [S, S]. Made once a call, not once a layer as published."""
    plane_S = torch.arange(planes, device=device).repeat_interleave(patches)
    return plane_S[:, None] == plane_S


def _attention(attention: Any, x_SD: Tensor, tables: tuple[Tensor, Tensor], mask_SS: Tensor) -> Tensor:
    q_HSC, k_HSC, v_HSC = (
        projection(x_SD).unflatten(-1, (attention.num_heads, -1)).transpose(0, 1)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    q_HSC, k_HSC = rotate(q_HSC, *tables), rotate(k_HSC, *tables)
    y_1HSC = F.scaled_dot_product_attention(q_HSC[None], k_HSC[None], v_HSC[None], attn_mask=mask_SS)
    y_SD: Tensor = attention.out_proj(y_1HSC[0].transpose(0, 1).flatten(1))
    return y_SD
