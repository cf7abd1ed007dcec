"""Where the weights of a room go."""

from pathlib import Path

import pytest
import torch

from hulumed_platform.core.settings import ModelRoomSettings, SettingsError
from hulumed_platform.rpc.model_room import ModelPlace


def settings(**values: str) -> ModelRoomSettings:
    return ModelRoomSettings(checkpoint_dir=Path(), **values)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_device_that_is_not_there_is_a_wrong_setting() -> None:
    """A pod without its GPU says so and leaves, instead of serving from the CPU unasked."""
    with pytest.raises(SettingsError, match="device cuda: "):
        ModelPlace.of(settings(device="cuda"))


def test_type_follows_the_device_unless_it_is_said() -> None:
    """float32 on the CPU equals the reference; operators may ask for another type."""
    place = ModelPlace.of(settings(device="cpu"))
    assert (place.device.type, place.dtype) == ("cpu", torch.float32)
    assert ModelPlace.of(settings(device="cpu", dtype="bfloat16")).dtype is torch.bfloat16
