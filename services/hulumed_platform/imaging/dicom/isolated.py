"""Lossless JPEG and JPEG-LS in a process of their own.

GDCM, the only decoder of lossless JPEG under a permissive licence, aborts its whole process on some broken streams.
CharLS computes for many seconds on a JPEG-LS stream that was cut off, and no other thread runs meanwhile. A child
decodes, so that a broken file costs that child and one error, not the server.

Protocol: a request is a line of JSON, `{"path": …, "frames": […], "plugin": …}`. For each frame the child answers with
a line of JSON, `{"shape": […], "dtype": "<u2"}`, and the raw values after it, or with an empty line where it cannot
decode.
"""

import json
import math
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt
from pydicom.pixels.utils import iter_pixels

MAX_MEMORY_BYTES = 8 * 1024**3


class IsolatedDecoder:
    """Decodes frames in a child process, which starts with the first request and ends with the context.

    A child that computes for more than `timeout_s` seconds is killed: some broken streams are never done.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.__exit__(kind, error, trace)

    def frames(self, path: Path, indices: Sequence[int], plugin: str) -> Iterator[npt.NDArray[Any]]:
        """Decode the frames `indices` (0-based) of a DICOM file, in this order, with a decoder of pydicom's.

        Raises:
            EOFError: the child cannot decode them, or died of them.
        """
        child = self._child = self._child or _start(self._timeout_s)
        assert child.stdin is not None
        assert child.stdout is not None
        request = {"path": str(path), "frames": list(indices), "plugin": plugin}
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.flush()
        for _ in indices:
            yield _receive(child.stdout)


def _start(timeout_s: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", __name__, str(math.ceil(timeout_s) + 1)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603


def _receive(stream: IO[bytes]) -> npt.NDArray[Any]:
    line = stream.readline().strip()
    if not line:
        raise EOFError("the child gave up or died")
    answer = json.loads(line)
    shape, dtype = tuple(answer["shape"]), np.dtype(answer["dtype"])
    content = stream.read(int(np.prod(shape)) * dtype.itemsize)
    return np.frombuffer(bytearray(content), dtype).reshape(shape)


def _send(stream: IO[bytes], values: npt.NDArray[Any]) -> None:
    stream.write(json.dumps({"shape": values.shape, "dtype": values.dtype.str}).encode() + b"\n")
    stream.write(np.ascontiguousarray(values).tobytes())
    stream.flush()


def main(requests: IO[bytes], answers: IO[bytes], max_cpu_s: int) -> None:
    """The child: serve requests until the parent closes the pipe."""
    resource.setrlimit(resource.RLIMIT_CPU, (max_cpu_s, max_cpu_s))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in requests:
        request = json.loads(line)
        try:
            for values in iter_pixels(request["path"], indices=request["frames"], decoding_plugin=request["plugin"]):
                _send(answers, values)
        except Exception:  # noqa: BLE001 - decoders raise anything on broken bytes; the parent says which file it was
            answers.write(b"\n")
            answers.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))
