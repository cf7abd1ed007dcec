"""The encoder room, put together."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from hulumed_platform.encoder.batching import Batcher, Grid
from hulumed_platform.encoder.inference import inference_model
from hulumed_platform.encoder.service import EncoderCore, EncoderService
from hulumed_platform.encoder.settings import EncoderSettings
from hulumed_platform.imaging.types import PATCH_DIM
from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.rpc.clients import StageClient, open_channel
from hulumed_platform.rpc.model_room import ModelPlace, describe
from hulumed_platform.rpc.open_inference import InferenceModel, add_open_inference
from hulumed_platform.rpc.room import Room, run_room
from hulumed_platform.rpc.server import Loaded, RoomServer
from hulumed_platform.rpc.torch_codec import WIRE_DTYPES
from hulumed_platform.rpc.v1 import room_pb2, stage_pb2, stage_pb2_grpc

ROOM = "encoder"


@contextmanager
def open_room(settings: EncoderSettings) -> Iterator[Room]:
    """The room with its client of ingest, not listening yet."""
    core: Loaded[EncoderCore] = Loaded()
    model: Loaded[InferenceModel] = Loaded()
    server = RoomServer(ROOM, settings)
    with ExitStack() as stack:
        ingest = StageClient(stack.enter_context(open_channel(settings.ingest_address)), "ingest")
        service = EncoderService(
            core,
            ingest,
            planes_in_flight=settings.planes_in_flight,
            request_timeout_s=settings.request_timeout_s,
        )
        server.register(
            stage_pb2_grpc.add_EncoderServiceServicer_to_server,
            service,
            stage_pb2.DESCRIPTOR.services_by_name["EncoderService"].full_name,
        )

        add_open_inference(server, ROOM, model, settings.request_timeout_s)

        def load() -> room_pb2.RoomDescription:
            loaded = _load(settings)
            stack.callback(loaded.batcher.close)
            core.set(loaded)
            model.set(
                inference_model(loaded.batcher, loaded.description, patch_dim=PATCH_DIM, hidden_size=loaded.row_width)
            )
            return loaded.description

        yield Room(server, load)


def _load(settings: EncoderSettings) -> EncoderCore:
    place = ModelPlace.of(settings)
    checkpoint = Checkpoint.open(settings.checkpoint_dir)
    encoder = checkpoint.load_encoder(place.device, place.dtype, settings.kernels)
    digests = checkpoint.digests()
    batcher = Batcher(encoder, settings.max_batch_patches)
    warm = np.zeros((4, encoder.config.patch_dim), np.uint8)
    batcher.submit(warm, Grid(2, 2, 2), threading.Event()).result()
    return EncoderCore(
        batcher=batcher,
        digests=digests,
        description=describe(ROOM, checkpoint, digests.encoder, digests.checkpoint, place),
        dtype=WIRE_DTYPES[place.dtype],
        row_width=encoder.config.hidden_size,
    )


def main() -> None:
    """Run the room until SIGTERM."""
    run_room(ROOM, EncoderSettings, open_room)
