"""What the routes work with, put together once in `server.py`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from anyio import CapacityLimiter
from fastapi import Request

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway.settings import GatewaySettings
from hulumed_platform.rpc.clients import DecoderClient, RoomClient
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.objects import ObjectStore


class Memory:
    """Bytes that all requests together may hold. Used on the event loop alone."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0

    @contextmanager
    def reserved(self) -> Iterator["Reservation"]:
        """What one request holds, given back when the block ends."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            self._held_bytes -= reservation.held_bytes

    def take(self, num_bytes: int) -> None:
        """Raise BUSY where there is no room."""
        if self._held_bytes + num_bytes > self._max_bytes:
            raise PlatformError(ErrorCode.BUSY, "too many large requests at the same time; wait, or use /v1/files")
        self._held_bytes += num_bytes


class Reservation:
    """The part of one request."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.held_bytes = 0

    def add(self, num_bytes: int) -> None:
        """Hold more bytes. Raises BUSY where there is no room."""
        self._memory.take(num_bytes)
        self.held_bytes += num_bytes


@dataclass(frozen=True, slots=True)
class Door:
    """Everything a route may use.

    `limiter` bounds the threads that wait for SQL and objects. Those that wait for an answer, which may take minutes,
    have their own, so that no number of them keeps a study from being stored.
    """

    settings: GatewaySettings
    database: Database
    objects: ObjectStore
    decoder: DecoderClient
    decoder_room: RoomClient
    limiter: CapacityLimiter
    answer_limiter: CapacityLimiter
    chat_memory: Memory


def door(request: Request) -> Door:
    """The door of the running app, for FastAPI's `Depends`."""
    made: Door = request.app.state.door
    return made
