"""The chain overlapped against stage after stage: the same rooms behind a relay that passes on, or holds, streams."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.asking import Asked, Cost, ask_rooms
from benchmarks.inputs import changing, write_film
from benchmarks.measure import NotEqualError, Row, paired
from benchmarks.relay import Relay, running_relay
from benchmarks.rooms import running_rooms
from hulumed_platform.rpc.v1 import stage_pb2
from tests.support.chain import Chain

NUM_PLANES = 32
SIDE_PX = 280
REPEATS = 3
POLICIES = {"every token kept": stage_pb2.POLICY_NONE, "half of each plane kept": stage_pb2.POLICY_HULUMED}
"""Without compression encoder and decoder have as much to do; with it there is less prefill to hide behind encoding."""


def rows(checkpoint_dir: Path, scratch: Path) -> Iterator[Row]:
    """Time to the first token and to the whole answer about a film."""
    with running_relay() as (relay, address), running_rooms(checkpoint_dir, scratch / "rooms", relay=address) as chain:
        relay.channels = chain.channels
        film = write_film(scratch / "film.avi", changing(NUM_PLANES, SIDE_PX, 0.5))
        asked = Asked(chain.store(film), NUM_PLANES)
        for name, policy in POLICIES.items():
            yield from _rows(f"{NUM_PLANES} planes, {name}", relay, chain, asked, policy)


def _rows(case: str, relay: Relay, chain: Chain, asked: Asked, policy: stage_pb2.Policy.ValueType) -> Iterator[Row]:
    def ask(*, hold: bool) -> Cost:
        relay.hold = hold
        return ask_rooms(chain, asked, policy=policy)

    ask(hold=False)
    pairs = paired(lambda: ask(hold=True), lambda: ask(hold=False), REPEATS)
    if any(held.text != passed.text for held, passed in pairs):
        raise NotEqualError("answers differ between the two orders of work")
    names = ("stage after stage", "overlapped")
    first = tuple((held.first_token_s, passed.first_token_s) for held, passed in pairs)
    total = tuple((held.total_s, passed.total_s) for held, passed in pairs)
    yield Row("overlap", case, "first token", "s", names, first)
    yield Row("overlap", case, "whole answer", "s", names, total)
