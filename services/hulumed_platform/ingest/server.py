"""The ingest room, put together."""

from collections.abc import Iterator
from contextlib import contextmanager

from hulumed_platform.core.version import PLATFORM_VERSION
from hulumed_platform.ingest.inference import inference_model
from hulumed_platform.ingest.preparation import Preparer
from hulumed_platform.ingest.service import IngestService
from hulumed_platform.ingest.settings import IngestSettings
from hulumed_platform.rpc.open_inference import InferenceModel, add_open_inference
from hulumed_platform.rpc.room import Room, run_room
from hulumed_platform.rpc.server import Loaded, RoomServer
from hulumed_platform.rpc.v1 import room_pb2, stage_pb2, stage_pb2_grpc
from hulumed_platform.storage.settings import open_objects

ROOM = "ingest"


@contextmanager
def open_room(settings: IngestSettings) -> Iterator[Room]:
    """The room with its store, not listening yet."""
    objects = open_objects(settings)
    preparer = Preparer(
        objects,
        limits=settings.limits,
        budget=settings.budget,
        scratch_dir=settings.scratch_dir,
        fetch_threads=settings.fetch_threads,
    )
    description = room_pb2.RoomDescription(room=ROOM, version=PLATFORM_VERSION, device="cpu", dtype="uint8")
    server = RoomServer(ROOM, settings)
    server.register(
        stage_pb2_grpc.add_IngestServiceServicer_to_server,
        IngestService(preparer, description, settings.request_timeout_s),
        stage_pb2.DESCRIPTOR.services_by_name["IngestService"].full_name,
    )

    model: Loaded[InferenceModel] = Loaded()
    add_open_inference(server, ROOM, model, settings.request_timeout_s)

    def load() -> room_pb2.RoomDescription:
        objects.check()
        model.set(inference_model(preparer))
        return description

    yield Room(server, load)


def main() -> None:
    """Run the room until SIGTERM."""
    run_room(ROOM, IngestSettings, open_room)
