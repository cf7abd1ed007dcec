"""What encoder, compressor and decoder have in common when they load. Only model rooms import it."""

from dataclasses import dataclass

import torch

from hulumed_platform.core.settings import ModelRoomSettings, SettingsError
from hulumed_platform.core.version import PLATFORM_VERSION
from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.device import choose_device, choose_dtype
from hulumed_platform.rpc.v1 import room_pb2


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Where the weights of a room are, and in which type."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, settings: ModelRoomSettings) -> "ModelPlace":
        """The place that the settings name; sets the number of threads of this process on the way.

        Raises:
            SettingsError: The device is not there.
        """
        if settings.num_threads:
            torch.set_num_threads(settings.num_threads)
        try:
            device = choose_device(settings.device)
        except (AssertionError, RuntimeError) as error:  # torch without CUDA asserts
            raise SettingsError(f"device {settings.device}: {error}") from error
        return cls(device, choose_dtype(settings.dtype, device))


def describe(
    room: str, checkpoint: Checkpoint, weights_digest: str, checkpoint_digest: str, place: ModelPlace
) -> room_pb2.RoomDescription:
    """What the room says of itself, and puts into the provenance."""
    return room_pb2.RoomDescription(
        room=room,
        version=PLATFORM_VERSION,
        weights_digest=weights_digest,
        checkpoint_digest=checkpoint_digest,
        model_label=checkpoint.label,
        device=str(place.device),
        dtype=str(place.dtype).removeprefix("torch."),
    )
