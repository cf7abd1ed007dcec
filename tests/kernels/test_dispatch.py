"""Dispatch: the kernel on a GPU, the reference elsewhere, either where it is asked for; and no triton without need."""

import subprocess
import sys

import pytest
import torch

from hulumed_kernels.dispatch import KernelChoice, uses_kernel
from tests.kernels.checks import needs_gpu


def test_choice_decides_before_the_device() -> None:
    tensor = torch.empty(0)
    assert uses_kernel(KernelChoice.TRITON, tensor)
    assert not uses_kernel(KernelChoice.REFERENCE, tensor)
    assert not uses_kernel(KernelChoice.AUTO, tensor)


@pytest.mark.gpu
@needs_gpu
def test_kernels_run_on_a_gpu_unless_told_otherwise() -> None:
    tensor = torch.empty(0, device="cuda")
    assert uses_kernel(KernelChoice.AUTO, tensor)
    assert not uses_kernel(KernelChoice.REFERENCE, tensor)


WITHOUT_TRITON = """
import sys
sys.modules["triton"] = None
import torch
from hulumed_kernels.merge_pack import merge_pack
from hulumed_kernels.novelty import novelty
from hulumed_kernels.patch_embed_input import patch_embed_input
from hulumed_kernels.rope2d import prepare, rope2d
patches = torch.zeros(2, 4, 12, dtype=torch.uint8)
half = (0.5, 0.5, 0.5)
novelty(patches, 2, half)
x = patch_embed_input(patches, half, half, torch.float32)
merge_pack(x, 2)
q = x[:, None]
rope2d(q, q, *prepare(torch.zeros(4, 2, dtype=torch.int64), torch.ones(3)))
"""

SETTINGS_ALONE = """
import sys
sys.modules["torch"] = sys.modules["triton"] = None
from hulumed_kernels.dispatch import KernelChoice
KernelChoice("auto")
"""


@pytest.mark.parametrize("code", [WITHOUT_TRITON, SETTINGS_ALONE], ids=["ops-without-triton", "choice-without-torch"])
def test_what_is_not_needed_is_not_imported(code: str) -> None:
    """The CPU build of torch brings no triton, and the command line reads settings without torch."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
