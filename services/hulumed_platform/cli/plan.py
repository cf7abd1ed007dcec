"""What is to run: a room, where it listens, and how to see that it is ready."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Probe = Callable[[], bool]
"""Asks a room whether it is ready."""


@dataclass(frozen=True, slots=True)
class RoomPlan:
    """One room of a platform; `address` is what others reach it by, `probed` what is asked whether it is ready."""

    room: str
    module: str
    """What `python -m` runs."""
    address: str
    probed: str
    environment: Mapping[str, str] = field(repr=False)
    ready: Probe = field(repr=False)
