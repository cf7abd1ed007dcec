"""The children that decode: what kills one costs one answer, and never the process that asked."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from hulumed_platform.archive.rendering import Renderers
from hulumed_platform.archive.syntaxes import DECODABLE, MEDIA_TYPES
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.imaging.dicom.pixels import READABLE

CT = str(get_testdata_file("CT_small.dcm", download=False))
GIB = 1 << 30


@pytest.fixture
def renderers() -> Iterator[Renderers]:
    with Renderers(1, max_job_s=20, max_memory_bytes=2 * GIB) as made:
        yield made


def draw(renderers: Renderers, path: str, out: Path) -> None:
    renderers.run("picture", path=path, out=str(out), frame=1, media_type="image/png")


def test_what_a_door_takes_for_decodable_is_what_the_decoders_read() -> None:
    """The gateway knows the transfer syntaxes without the decoders; the two lists are one."""
    assert {str(syntax) for syntax in READABLE} == DECODABLE
    assert not MEDIA_TYPES.keys() & {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"}


def test_no_file_and_a_broken_one_are_refused(renderers: Renderers, tmp_path: Path) -> None:
    """And the child goes on."""
    (tmp_path / "broken").write_bytes(Path(CT).read_bytes()[:3000])
    for name in ("missing", "broken"):
        with pytest.raises(PlatformError) as caught:
            draw(renderers, str(tmp_path / name), tmp_path / "out")
        assert caught.value.code is ErrorCode.UNSUPPORTED
        assert "tmp" not in caught.value.message
    draw(renderers, CT, tmp_path / "out")
    assert (tmp_path / "out").read_bytes().startswith(b"\x89PNG")


def test_child_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    """A pipe that nobody writes to stands for a decoder that never ends."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with Renderers(1, max_job_s=3, max_memory_bytes=2 * GIB) as renderers:
        started = time.monotonic()
        with pytest.raises(PlatformError, match="broken, or too large"):
            draw(renderers, str(pipe), tmp_path / "out")
        assert time.monotonic() - started < 15
        draw(renderers, CT, tmp_path / "out")


def test_memory_of_a_child_is_limited(renderers: Renderers, tmp_path: Path) -> None:
    """Three gigabytes of pixels, here a hole in a file, are an error and not the end of the machine."""
    data = bytearray(Path(CT).read_bytes())
    at = data.index(b"\xe0\x7f\x10\x00OW\0\0") + 8
    data[at : at + 4] = (3 * GIB).to_bytes(4, "little")
    with (tmp_path / "huge").open("wb") as file:
        file.write(data[: at + 4])
        file.truncate(at + 4 + 3 * GIB)
    with pytest.raises(PlatformError) as caught:
        renderers.run("transcode", path=str(tmp_path / "huge"), out=str(tmp_path / "out"))
    assert caught.value.code is ErrorCode.UNSUPPORTED
    draw(renderers, CT, tmp_path / "out")


def test_many_threads_share_few_children(tmp_path: Path) -> None:
    """Each gets its own picture."""
    with Renderers(2, max_job_s=30, max_memory_bytes=2 * GIB) as renderers, ThreadPoolExecutor(8) as threads:
        outs = [tmp_path / str(number) for number in range(16)]
        list(threads.map(lambda out: draw(renderers, CT, out), outs))
    assert len({out.read_bytes() for out in outs}) == 1


def test_no_free_child_is_busy(tmp_path: Path) -> None:
    """Who cannot be served in time hears so, and may try again."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with Renderers(1, max_job_s=2, max_memory_bytes=2 * GIB) as renderers, ThreadPoolExecutor(3) as threads:
        codes = [
            error.code
            for job in [threads.submit(draw, renderers, str(pipe), tmp_path / "out") for _ in range(3)]
            if isinstance(error := job.exception(), PlatformError)
        ]
    assert ErrorCode.BUSY in codes
