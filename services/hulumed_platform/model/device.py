"""Where weights go and in which type."""

import torch


def choose_device(name: str) -> torch.device:
    """The device of a setting; `auto` is the first CUDA device where there is one, else the CPU.

    Raises:
        RuntimeError, AssertionError: the device is not there; the latter by a torch built without CUDA.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    torch.empty(0, device=device)  # fails here, with the name, and not in the middle of loading
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The type of a setting; `auto` is bfloat16 on CUDA and float32 on the CPU."""
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" else "float32"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
