"""The compressor room, put together."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from hulumed_platform.compressor.compression import Compressor
from hulumed_platform.compressor.inference import inference_model
from hulumed_platform.compressor.service import CompressorCore, CompressorService
from hulumed_platform.compressor.settings import CompressorSettings
from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.compression import KeepRule
from hulumed_platform.rpc.clients import StageClient, open_channel
from hulumed_platform.rpc.model_room import ModelPlace, describe
from hulumed_platform.rpc.open_inference import InferenceModel, add_open_inference
from hulumed_platform.rpc.room import Room, run_room
from hulumed_platform.rpc.server import Loaded, RoomServer
from hulumed_platform.rpc.torch_codec import WIRE_DTYPES
from hulumed_platform.rpc.v1 import room_pb2, stage_pb2, stage_pb2_grpc

ROOM = "compressor"


@contextmanager
def open_room(settings: CompressorSettings) -> Iterator[Room]:
    """The room with its client of the encoder, not listening yet."""
    core: Loaded[CompressorCore] = Loaded()
    model: Loaded[InferenceModel] = Loaded()
    server = RoomServer(ROOM, settings)
    with open_channel(settings.encoder_address) as channel:
        service = CompressorService(
            core,
            StageClient(channel, "encoder"),
            planes_ahead=settings.planes_ahead,
            request_timeout_s=settings.request_timeout_s,
        )
        server.register(
            stage_pb2_grpc.add_CompressorServiceServicer_to_server,
            service,
            stage_pb2.DESCRIPTOR.services_by_name["CompressorService"].full_name,
        )

        add_open_inference(server, ROOM, model, settings.request_timeout_s)

        def load() -> room_pb2.RoomDescription:
            loaded = _load(settings)
            core.set(loaded)
            model.set(
                inference_model(
                    loaded.compressor, loaded.description, in_features=loaded.in_features, out_features=loaded.row_width
                )
            )
            return loaded.description

        yield Room(server, load)


def _load(settings: CompressorSettings) -> CompressorCore:
    place = ModelPlace.of(settings)
    checkpoint = Checkpoint.open(settings.checkpoint_dir)
    compressor = Compressor(checkpoint.load_projector(place.device, place.dtype))
    digests = checkpoint.digests()
    config = checkpoint.config.projector
    warm = torch.zeros(4, config.in_features)
    compressor.compress(warm, np.zeros(4, np.float32), KeepRule(), plane=0, num_planes=1, compressible=False)
    return CompressorCore(
        compressor=compressor,
        digests=digests,
        description=describe(ROOM, checkpoint, digests.projector, digests.checkpoint, place),
        dtype=WIRE_DTYPES[place.dtype],
        in_features=config.in_features,
        row_width=config.out_features,
    )


def main() -> None:
    """Run the room until SIGTERM."""
    run_room(ROOM, CompressorSettings, open_room)
