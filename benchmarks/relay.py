"""A relay between the rooms: passes every message on as it comes, or holds a stream until it is complete.

Held streams force the chain to run stage after stage with the very same rooms, settings and code; streams that are
passed on cost the same detour, so the two compare.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

_THREADS = 8


class Relay(grpc.GenericRpcHandler):
    """Serves the streams of every room by asking the room itself; it never looks into a message."""

    def __init__(self) -> None:
        self.hold = False
        """Whether to keep the messages of a stream back until the last one has come."""
        self.channels: Mapping[str, grpc.Channel] = {}
        """Where to find the rooms, by name; set once they run."""

    def service(self, handler_call_details: Any) -> Any:
        method: str = handler_call_details.method

        def forward(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            ask: Any = self._channel(method).unary_stream(method)
            call = ask(request, timeout=context.time_remaining())
            context.add_callback(call.cancel)
            yield from (list(call) if self.hold else call)

        return grpc.unary_stream_rpc_method_handler(forward)

    def _channel(self, method: str) -> grpc.Channel:
        """`/hulumed_platform.rpc.v1.IngestService/Prepare` is for ingest."""
        service = method.split("/")[1].rpartition(".")[2]
        return self.channels[service.removesuffix("Service").lower()]


@contextmanager
def running_relay() -> Iterator[tuple[Relay, str]]:
    """A relay on loopback, and its address."""
    relay = Relay()
    server = grpc.server(ThreadPoolExecutor(_THREADS), handlers=[relay])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield relay, f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
