"""The server of a room: unhealthy until ready, bounded, exact about errors, drained at the end, hard to kill."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import REGISTRY

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.core.settings import GrpcRoomSettings
from hulumed_platform.rpc.clients import MAX_MESSAGE_BYTES, RoomClient, StageClient, open_channel
from hulumed_platform.rpc.errors import DETAIL_KEY, from_call
from hulumed_platform.rpc.server import Loaded, RoomServer
from hulumed_platform.rpc.v1 import errors_pb2, room_pb2, stage_pb2, stage_pb2_grpc, tensor_pb2

SERVICE = "hulumed_platform.rpc.v1.IngestService"
REQUEST = stage_pb2.StageRequest(tenant="default")


class ScriptedIngest(stage_pb2_grpc.IngestServiceServicer):
    """Answers as the test wants; `release` lets its streams go on."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.cancelled = threading.Event()
        self.plan: Callable[[], stage_pb2.PlanResponse] = stage_pb2.PlanResponse

    def Plan(self, request: stage_pb2.StageRequest, context: grpc.ServicerContext) -> stage_pb2.PlanResponse:
        return self.plan()

    def Prepare(
        self, request: stage_pb2.StageRequest, context: grpc.ServicerContext
    ) -> Iterator[stage_pb2.StageMessage]:
        context.add_callback(lambda: self.cancelled.set() if not self.release.is_set() else None)
        yield stage_pb2.StageMessage(header=stage_pb2.StreamHeader(dtype=tensor_pb2.DTYPE_UINT8, row_width=588))
        while not self.release.wait(0.02):
            if not context.is_active():
                return
        yield stage_pb2.StageMessage(trailer=stage_pb2.StreamTrailer())


class Room:
    """A room on loopback with two slots, two places to wait, and its clients."""

    def __init__(self) -> None:
        self.servicer = ScriptedIngest()
        self.server = RoomServer("ingest", GrpcRoomSettings(host="127.0.0.1", port=0, max_active=2, max_waiting=2))
        self.server.register(stage_pb2_grpc.add_IngestServiceServicer_to_server, self.servicer, SERVICE)
        self.port = self.server.start()
        self.channel = open_channel(f"127.0.0.1:{self.port}")
        self.client = StageClient(self.channel, "ingest")

    def health(self, service: str = "") -> str:
        check = health_pb2_grpc.HealthStub(self.channel).Check  # type: ignore[attr-defined]
        status = check(health_pb2.HealthCheckRequest(service=service), timeout=5).status
        return health_pb2.HealthCheckResponse.ServingStatus.Name(status)

    def prepare(self) -> int:
        """Read one stream to its end and count its planes."""
        with self.client.stream(REQUEST, timeout_s=20) as stream:
            return len(list(stream))


def wait_for_sample(metric: str, value: float) -> None:
    """Wait until a metric of this process has the value."""
    deadline = time.monotonic() + 10
    while REGISTRY.get_sample_value(metric) != value:
        assert time.monotonic() < deadline, f"{metric} is {REGISTRY.get_sample_value(metric)}, not {value}"
        time.sleep(0.01)


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.servicer.release.set()
    room.channel.close()
    room.server.stop(1)


def test_room_is_unhealthy_until_its_weights_are_in(room: Room) -> None:
    """A pod must not get requests before its warm forward, but it must answer its probes."""
    assert room.health() == room.health(SERVICE) == "NOT_SERVING"
    room.server.ready(room_pb2.RoomDescription(weights_digest="sha256:ab"))
    assert room.health() == room.health(SERVICE) == "SERVING"


def test_description_tells_what_runs_also_while_loading(room: Room) -> None:
    """`status` shows a loading room as not ready instead of failing."""
    client = RoomClient(room.channel, "ingest")
    assert not client.describe(timeout_s=5).ready
    room.server.ready(room_pb2.RoomDescription(weights_digest="sha256:ab"))
    description = client.describe(timeout_s=5)
    assert (description.room, description.ready, description.weights_digest) == ("ingest", True, "sha256:ab")


def test_core_that_is_not_loaded_asks_to_come_again() -> None:
    """A request that slips in before readiness gets a retryable answer, not an internal error."""
    loaded: Loaded[str] = Loaded()
    with pytest.raises(PlatformError, match="still loading") as caught:
        loaded.get()
    assert caught.value.retryable
    loaded.set("core")
    assert loaded.get() == "core"


def test_reflection_lists_the_services(room: Room) -> None:
    """Operators use grpcurl without proto files at hand."""
    stub = reflection_pb2_grpc.ServerReflectionStub(room.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (reply,) = list(stub.ServerReflectionInfo(iter([request]), timeout=5))  # type: ignore[operator]
    assert {SERVICE, "grpc.health.v1.Health"} <= {service.name for service in reply.list_services_response.service}


def test_platform_error_crosses_intact(room: Room) -> None:
    """Code, words, retry hint and correlation id are the same on both sides."""
    sent = PlatformError(ErrorCode.TOO_LARGE, "file 3 of 12: over the limit", retryable=True, retry_after_s=4.0)

    def refuse() -> stage_pb2.PlanResponse:
        raise sent

    room.servicer.plan = refuse
    with pytest.raises(PlatformError) as caught:
        room.client.plan(REQUEST, timeout_s=5)
    for name in ("code", "message", "retryable", "retry_after_s", "correlation_id"):
        assert getattr(caught.value, name) == getattr(sent, name)


def test_unknown_exception_shows_no_detail(room: Room) -> None:
    """The text of an unexpected exception may hold patient data; only its correlation id leaves the room."""

    def fail() -> stage_pb2.PlanResponse:
        raise KeyError("DOE^JANE")

    room.servicer.plan = fail
    with pytest.raises(PlatformError, match="internal error") as caught:
        room.client.plan(REQUEST, timeout_s=5)
    assert "DOE" not in caught.value.message
    assert caught.value.correlation_id in caught.value.message


def test_full_room_makes_callers_wait_and_refuses_a_flood(room: Room) -> None:
    """Two work, two wait, the fifth is told to come again; then all four end well."""
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(room.prepare) for _ in range(4)]
        wait_for_sample("hulumed_requests_waiting", 2)
        with pytest.raises(PlatformError, match="the room works on 4 requests already") as caught:
            room.client.plan(REQUEST, timeout_s=5)
        assert caught.value.retryable
        assert room.health() == "NOT_SERVING", "health answers while the room is full"
        room.servicer.release.set()
        assert [future.result(timeout=10) for future in running] == [0, 0, 0, 0]
    assert room.client.plan(REQUEST, timeout_s=5) == stage_pb2.PlanResponse()


def test_caller_that_leaves_is_noticed(room: Room) -> None:
    """Work for nobody stops: the servicer hears of it while it waits for the stage before."""
    with room.client.stream(REQUEST, timeout_s=20):
        pass
    assert room.servicer.cancelled.wait(2)


def test_deadline_is_reported_as_such(room: Room) -> None:
    """A caller can tell its own deadline from a failure of the room."""
    with pytest.raises(PlatformError) as caught, room.client.stream(REQUEST, timeout_s=0.3) as stream:
        list(stream)
    assert caught.value.code is ErrorCode.DEADLINE


def test_room_that_is_away_is_unavailable(room: Room) -> None:
    """A restarting pod means try again, not an internal error."""
    room.server.stop(0)
    with pytest.raises(PlatformError, match="the ingest room cannot be reached") as caught:
        room.client.plan(REQUEST, timeout_s=2)
    assert caught.value.retryable


def test_draining_room_lets_a_running_stream_end(room: Room) -> None:
    """A rolling update does not cut answers in half."""
    with room.client.stream(REQUEST, timeout_s=20) as stream:
        stopping = threading.Thread(target=room.server.stop, args=(10,))
        stopping.start()
        time.sleep(0.2)
        room.servicer.release.set()
        assert list(stream) == []
        stopping.join(5)
        assert not stopping.is_alive()


def test_loading_room_that_is_told_to_stop_ends_at_once() -> None:
    """Weights take minutes to load, longer than a pod is given to end."""
    code = (
        "import time\n"
        "from hulumed_platform.core.settings import GrpcRoomSettings\n"
        "from hulumed_platform.rpc.server import RoomServer\n"
        "server = RoomServer('slow', GrpcRoomSettings(host='127.0.0.1', port=0))\n"
        "server.run(lambda: [print('loading', flush=True), time.sleep(60)])"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"loading\n"
        process.terminate()
        assert process.wait(timeout=10) == 0


@pytest.mark.parametrize("garbage", [b"", b"\x00" * 4096, b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 64])
def test_garbage_on_the_port_leaves_the_room_alive(room: Room, garbage: bytes) -> None:
    """Port scanners and wrong clients connect to everything."""
    with socket.create_connection(("127.0.0.1", room.port), timeout=5) as connection:
        connection.sendall(garbage)
    assert room.client.plan(REQUEST, timeout_s=5) == stage_pb2.PlanResponse()


def test_garbage_as_a_message_is_refused(room: Room) -> None:
    """Bytes that are no protobuf message, or text that is not UTF-8, are the caller's mistake and not the room's."""
    for garbage in (b"\xff" * 100, b"\x0a\x02\xff\xfe", b"\x0a\x7f\x00"):
        methods: list[Callable[..., Iterable[bytes]]] = [
            room.channel.unary_unary(f"/{SERVICE}/Plan"),
            room.channel.unary_stream(f"/{SERVICE}/Prepare"),
        ]
        for method in methods:
            with pytest.raises(grpc.RpcError, match="no message of this method") as caught:
                list(method(garbage, timeout=5))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert room.client.plan(REQUEST, timeout_s=5) == stage_pb2.PlanResponse()


def test_too_long_a_message_is_not_a_full_room(room: Room) -> None:
    """gRPC gives both the same status; only one of them gets better by waiting."""
    request = stage_pb2.StageRequest(tenant="x" * (MAX_MESSAGE_BYTES + 1))
    with pytest.raises(PlatformError, match="send less") as caught:
        room.client.plan(request, timeout_s=5)
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.TOO_LARGE, False)


def test_another_room_at_the_address_is_told(room: Room) -> None:
    """Two addresses exchanged in a deployment."""
    with pytest.raises(PlatformError, match="in place of the encoder room does not know the call; check its address"):
        StageClient(room.channel, "encoder").plan(REQUEST, timeout_s=5)


def test_error_of_a_newer_room_keeps_its_words() -> None:
    """In a rolling update a code may come that this version does not have."""

    class Failed:
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.ABORTED

        def details(self) -> str | None:
            return None

        def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...] | None:
            detail = errors_pb2.ErrorDetail(code="brand_new", message="do this", retryable=True)
            return ((DETAIL_KEY, detail.SerializeToString()),)

    error = from_call(Failed(), "encoder")
    assert (error.code, error.message, error.retryable) == (ErrorCode.INTERNAL, "do this", True)


def test_unknown_failure_of_the_transport_has_words() -> None:
    """Whatever gRPC itself reports, a user reads a sentence."""

    class Failed:
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.DATA_LOSS

        def details(self) -> str | None:
            return None

        def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...] | None:
            return None

    assert from_call(Failed(), "encoder").message == "the encoder room failed without giving a reason"
