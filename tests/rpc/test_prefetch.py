"""Reading ahead: bounded, in order, and over when the reader leaves."""

import threading
import time
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from hulumed_platform.rpc.prefetch import Prefetch


def counted(pulled: list[int], stop_at: int = 1000) -> Iterator[int]:
    for number in range(stop_at):
        pulled.append(number)
        yield number


def test_elements_come_in_order_and_whole() -> None:
    """Reading ahead changes nothing but the time."""
    with Prefetch(range(100), 3) as ahead:
        assert list(ahead) == list(range(100))


def test_never_further_ahead_than_the_depth() -> None:
    """A slow reader holds the source up: this bounds the memory of a request."""
    pulled: list[int] = []
    with Prefetch(counted(pulled), 4) as ahead:
        numbers = iter(ahead)
        for _ in range(3):
            next(numbers)
        time.sleep(0.1)
        assert len(pulled) == 3 + 4
        assert REGISTRY.get_sample_value("hulumed_planes_ahead") == 4
    assert len(pulled) == 7
    assert REGISTRY.get_sample_value("hulumed_planes_ahead") == 0


def test_error_of_the_source_reaches_the_reader_in_its_place() -> None:
    """Planes before the broken one are not lost, and the error is not swallowed by the thread."""

    def breaking() -> Iterator[int]:
        yield 1
        raise ValueError("plane 2 cannot be decoded")

    with Prefetch(breaking(), 4) as ahead:
        numbers = iter(ahead)
        assert next(numbers) == 1
        with pytest.raises(ValueError, match="plane 2"):
            next(numbers)


def test_leaving_unblocks_a_source_that_waits() -> None:
    """The stage before may never send again: `stop` cancels it, and the thread is gone when the block is left."""
    cancelled = threading.Event()

    def waiting() -> Iterator[int]:
        yield 1
        assert cancelled.wait(10)

    threads = threading.active_count()
    with Prefetch(waiting(), 4, stop=cancelled.set) as ahead:
        assert next(iter(ahead)) == 1
    assert threading.active_count() == threads
