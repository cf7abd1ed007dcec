"""What the routes work with, put together once in `server.py`."""

from dataclasses import dataclass

from anyio import CapacityLimiter
from fastapi import Request

from hulumed_platform.gateway.settings import GatewaySettings
from hulumed_platform.rpc.clients import DecoderClient, RoomClient
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Door:
    """Everything a route may use. `limiter` bounds the threads that wait for SQL, objects and the decoder."""

    settings: GatewaySettings
    database: Database
    objects: ObjectStore
    decoder: DecoderClient
    decoder_room: RoomClient
    limiter: CapacityLimiter


def door(request: Request) -> Door:
    """The door of the running app, for FastAPI's `Depends`."""
    made: Door = request.app.state.door
    return made
