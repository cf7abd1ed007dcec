"""The gRPC server of a room: up and unhealthy at once, serving once it is warm, drained on SIGTERM."""

import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry.instrumentation.grpc import server_interceptor

from hulumed_platform.core import metrics
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.core.settings import GrpcRoomSettings
from hulumed_platform.core.signals import StopSignals
from hulumed_platform.core.telemetry import flush_traces
from hulumed_platform.core.version import PLATFORM_VERSION
from hulumed_platform.rpc.clients import KEEPALIVE_MS, MAX_MESSAGE_BYTES
from hulumed_platform.rpc.interceptors import Admission, RoomInterceptor
from hulumed_platform.rpc.v1 import room_pb2, room_pb2_grpc

log = logging.getLogger(__name__)

_SPARE_THREADS = 8
"""Threads for health, reflection and Describe while every slot and every place to wait is taken."""

_Core = TypeVar("_Core")


class Loaded(Generic[_Core]):
    """Holds a room's core until it is loaded; asked before that, it tells the caller to come again."""

    def __init__(self) -> None:
        self._core: _Core | None = None

    def set(self, core: _Core) -> None:
        self._core = core

    @property
    def is_loaded(self) -> bool:
        return self._core is not None

    def get(self) -> _Core:
        if self._core is None:
            raise PlatformError(
                ErrorCode.UNAVAILABLE,
                "the room is still loading its weights; try again in a moment",
                retry_after_s=2.0,
            )
        return self._core


class _RoomService(room_pb2_grpc.RoomServiceServicer):
    def __init__(self, description: room_pb2.RoomDescription) -> None:
        self.description = description

    def Describe(self, request: room_pb2.DescribeRequest, context: grpc.ServicerContext) -> room_pb2.RoomDescription:
        return self.description


class RoomServer:
    """The server of one room.

    Register servicers, then `run`, which loads, serves and returns after a drained shutdown; tests use `start`, `ready`
    and `stop` alone.
    """

    def __init__(self, room: str, settings: GrpcRoomSettings) -> None:
        self._room = room
        self._settings = settings
        self._loading = True
        threads = settings.max_active + settings.max_waiting + _SPARE_THREADS
        tracing = server_interceptor()  # type: ignore[no-untyped-call]
        self._server = grpc.server(
            ThreadPoolExecutor(threads, thread_name_prefix=f"{room}-rpc"),
            interceptors=[tracing, RoomInterceptor(Admission(settings.max_active, settings.max_waiting))],
            maximum_concurrent_rpcs=threads,
            options=(
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
                # By default a server hangs up on a client that asks whether it lives during a call without data, which
                # every long prefill is.
                ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_MS // 2),
                ("grpc.keepalive_permit_without_calls", 1),
            ),
        )
        self._services = [reflection.SERVICE_NAME, health.SERVICE_NAME]
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._description = room_pb2.RoomDescription(room=room, version=PLATFORM_VERSION)
        self.register(
            room_pb2_grpc.add_RoomServiceServicer_to_server,
            _RoomService(self._description),
            room_pb2.DESCRIPTOR.services_by_name["RoomService"].full_name,
        )

    def register(self, add: Callable[[Any, grpc.Server], None], servicer: object, service: str) -> None:
        """Add a servicer under its full protobuf name; it is unhealthy until `ready`."""
        add(servicer, self._server)
        self._services.append(service)
        self._health.set(service, health_pb2.HealthCheckResponse.NOT_SERVING)

    def start(self) -> int:
        """Listen, still unhealthy, and return the port.

        Raises:
            RuntimeError: The port is taken.
        """
        self._set_health(serving=False)
        reflection.enable_server_reflection(self._services, self._server)
        port = self._server.add_insecure_port(f"{self._settings.host}:{self._settings.port}")
        self._server.start()
        log.info("listening", extra={"port": port})
        return port

    def ready(self, description: room_pb2.RoomDescription | None = None) -> None:
        """Turn healthy; `description` adds what the room learnt while it loaded (digests, device, dtype)."""
        if description is not None:
            self._description.MergeFrom(description)
        self._description.ready = True
        self._set_health(serving=True)
        metrics.READY.set(1)
        log.info("ready")

    def stop(self, grace_s: float) -> None:
        """Turn unhealthy, let running requests end for `grace_s` seconds, cancel the rest."""
        metrics.READY.set(0)
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_s).wait()

    def run(self, load: Callable[[], room_pb2.RoomDescription | None]) -> None:
        """Serve until SIGTERM or SIGINT.

        Args:
            load: brings the weights in and does one warm forward; a signal meanwhile ends the process at once.
        """
        signals = StopSignals(self._on_signal)
        self.start()
        description = load()
        self._loading = False
        self.ready(description)
        signals.wait()
        log.info("draining")
        self.stop(self._settings.drain_timeout_s)
        flush_traces()

    def _on_signal(self) -> None:
        if self._loading:
            sys.exit(0)  # nobody is served yet, and loading may take minutes

    def _set_health(self, *, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", *self._services):
            self._health.set(service, status)
