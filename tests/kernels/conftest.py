"""Where there is no CUDA device, the kernels of these tests run in Triton's interpreter."""

import os
import sys

import torch

# Triton reads this when it is imported and when it meets a kernel, so it is set while tests are collected: no test has
# run yet, and nothing imports triton before it needs it.
if not torch.cuda.is_available():
    assert "triton" not in sys.modules or os.environ.get("TRITON_INTERPRET") == "1", "something imported triton early"
    os.environ["TRITON_INTERPRET"] = "1"
