"""Planes of a study, prepared here once more, with the patches that the model read marked."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hulumed_platform.cli.picture import MarkedPlane
from hulumed_platform.imaging.patches import unpatchify
from hulumed_platform.imaging.prepare import Preparation, prepare
from hulumed_platform.imaging.types import Limits, Media, PreparedPlane, SourceFile, TokenBudget


def marked_planes(
    files: Sequence[Path], kept_bits: Mapping[int, bytes], *, item: int, max_planes: int
) -> list[MarkedPlane]:
    """Prepare files of a study as ingest did, and mark what was kept.

    Args:
        files: all files of the study.
        kept_bits: by plane of the item, one bit a token, row by row, the most significant bit first.
        item: index of the item to show.
        max_planes: how many of its planes, spread evenly.
    """
    sources = tuple(SourceFile(path, _digest(path), f"file {n}") for n, path in enumerate(files, start=1))
    with tempfile.TemporaryDirectory() as scratch:
        preparation = prepare([Media(sources)], limits=Limits(), budget=TokenBudget(), scratch=Path(scratch))
        return list(_marked(preparation, kept_bits, item, max_planes))


def _marked(
    preparation: Preparation, kept_bits: Mapping[int, bytes], item: int, max_planes: int
) -> Iterator[MarkedPlane]:
    shape = preparation.items[item]
    count = min(max_planes, shape.num_planes)
    shown = set(np.linspace(0, shape.num_planes - 1, count).round().astype(int).tolist())
    for plane in preparation.planes():
        if plane.item == item and plane.plane in shown:
            rows, columns = shape.height // shape.merge, shape.width // shape.merge
            kept = _mask(kept_bits[plane.plane], shape.tokens_per_plane).reshape(rows, columns)
            caption = f"plane {plane.plane + 1}: {kept.sum()} of {kept.size} kept"
            yield MarkedPlane(_pixels(plane, shape.height, shape.width, shape.merge), kept, caption)


def _digest(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def _mask(bits: bytes, tokens: int) -> npt.NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=tokens).astype(np.bool_)


def _pixels(plane: PreparedPlane, height: int, width: int, merge: int) -> npt.NDArray[np.uint8]:
    picture: npt.NDArray[np.uint8] = unpatchify(plane.patches[np.newaxis], height=height, width=width, merge=merge)[0]
    return picture
