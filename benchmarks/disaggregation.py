"""Four processes over gRPC against the model in one process: what the borders between the rooms cost."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import torch

from benchmarks.asking import Asked, Cost, ask_one_process, ask_rooms
from benchmarks.inputs import changing, write_film, write_picture, write_series
from benchmarks.measure import Aim, NotEqualError, Row, paired
from benchmarks.rooms import on_cores, running_rooms
from hulumed_platform.model.pipeline import HuluMed
from tests.support.chain import Chain

NUM_PLANES = 24
REPEATS = 3
AIM = Aim(1.05, at_least=False)


def rows(checkpoint_dir: Path, scratch: Path) -> Iterator[Row]:
    """Time of whole answers: on one core, where nothing can overlap, and on all, each side with as many threads."""
    cores = sorted(os.sched_getaffinity(0))
    for count in sorted({1, len(cores)}):
        folder = scratch / f"{count}-cores"
        folder.mkdir()
        # Two rooms work hard at a time, the encoder and the decoder: they share the cores.
        threads = max(1, count // 2)
        with (
            running_rooms(checkpoint_dir, folder / "rooms", threads=threads) as chain,
            closing(HuluMed.load(checkpoint_dir)) as model,
            on_cores(chain, set(cores[:count])),
        ):
            torch.set_num_threads(count)
            for case, asked in _questions(chain, folder).items():
                yield _row(f"{case}, {count} core{'s' * (count > 1)}", chain, model, asked, folder)


def _questions(chain: Chain, folder: Path) -> dict[str, Asked]:
    return {
        "picture": Asked(chain.store(write_picture(folder / "picture.png", 336)), None),
        f"volume of {NUM_PLANES} slices": Asked(
            chain.store(*write_series(folder / "series", changing(NUM_PLANES, 256, 0.25))), NUM_PLANES
        ),
        f"film, {NUM_PLANES} planes": Asked(
            chain.store(write_film(folder / "film.avi", changing(NUM_PLANES, 280, 0.5))), NUM_PLANES
        ),
    }


def _row(case: str, chain: Chain, model: HuluMed, asked: Asked, folder: Path) -> Row:
    def rooms() -> Cost:
        return ask_rooms(chain, asked)

    def one() -> Cost:
        return ask_one_process(model, chain, asked, folder)

    rooms(), one()
    pairs = paired(rooms, one, REPEATS)
    if any(first.text != second.text for first, second in pairs):
        raise NotEqualError(f"{case}: four processes and one give different answers")
    times = tuple((first.total_s, second.total_s) for first, second in pairs)
    return Row("rooms", case, "whole answer", "s", ("four processes", "one process"), times, AIM)
