"""The decoder room, put together."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from hulumed_platform.decoder.inference import inference_model
from hulumed_platform.decoder.service import DecoderCore, DecoderService
from hulumed_platform.decoder.settings import DecoderSettings
from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.model.engine.base import Sampling, TokenBlock
from hulumed_platform.model.engine.factory import make_engine
from hulumed_platform.rpc.clients import StageClient, open_channel
from hulumed_platform.rpc.model_room import ModelPlace, describe
from hulumed_platform.rpc.open_inference import InferenceModel, add_open_inference
from hulumed_platform.rpc.room import Room, run_room
from hulumed_platform.rpc.server import Loaded, RoomServer
from hulumed_platform.rpc.v1 import decoder_pb2, decoder_pb2_grpc, room_pb2

ROOM = "decoder"


@contextmanager
def open_room(settings: DecoderSettings) -> Iterator[Room]:
    """The room with its client of the compressor, not listening yet."""
    core: Loaded[DecoderCore] = Loaded()
    model: Loaded[InferenceModel] = Loaded()
    server = RoomServer(ROOM, settings)
    with ExitStack() as stack:
        compressor = StageClient(stack.enter_context(open_channel(settings.compressor_address)), "compressor")
        service = DecoderService(
            core,
            compressor,
            max_new_tokens=settings.max_new_tokens,
            request_timeout_s=settings.request_timeout_s,
        )
        server.register(
            decoder_pb2_grpc.add_DecoderServiceServicer_to_server,
            service,
            decoder_pb2.DESCRIPTOR.services_by_name["DecoderService"].full_name,
        )

        add_open_inference(server, ROOM, model, settings.request_timeout_s)

        def load() -> room_pb2.RoomDescription:
            loaded = _load(settings)
            stack.callback(loaded.engine.close)
            core.set(loaded)
            model.set(inference_model(loaded.engine, loaded.tokenizer, loaded.description))
            return loaded.description

        yield Room(server, load)


def _load(settings: DecoderSettings) -> DecoderCore:
    place = ModelPlace.of(settings)
    checkpoint = Checkpoint.open(settings.checkpoint_dir)
    tokenizer = checkpoint.tokenizer()
    language = checkpoint.load_language(place.device, place.dtype)
    digests = checkpoint.digests()
    engine = make_engine(settings.engine, language, tokenizer, prefill_chunk=settings.prefill_chunk)
    warm = TokenBlock(tuple(tokenizer.encode_text("warm")))
    for _ in engine.generate([warm], Sampling(max_new_tokens=2), threading.Event()):
        pass
    return DecoderCore(
        engine=engine,
        engine_name=settings.engine,
        tokenizer=tokenizer,
        digests=digests,
        description=describe(ROOM, checkpoint, digests.decoder, digests.checkpoint, place),
        trained=checkpoint.trained,
    )


def main() -> None:
    """Run the room until SIGTERM."""
    run_room(ROOM, DecoderSettings, open_room)
