"""The child: one job after another, each a line of JSON, until the parent closes the pipe.

A request is `{"job": …, "path": …, "out": …}` and what else the job needs; the answer `{"result": {…}}`, with the bytes
in the file `out`, or `{"refused": why, "kind": …}`.
"""

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from hulumed_platform.archive.renderer.bulk import write_bulk
from hulumed_platform.archive.renderer.frames import write_frames
from hulumed_platform.archive.renderer.metadata import write_metadata
from hulumed_platform.archive.renderer.picture import write_picture
from hulumed_platform.archive.renderer.refused import RefusedError
from hulumed_platform.archive.renderer.transcode import write_transcoded
from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.silence import silence

_JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    "bulk": write_bulk,
    "frames": write_frames,
    "metadata": write_metadata,
    "picture": write_picture,
    "transcode": write_transcoded,
}


def main(requests: IO[bytes], answers: IO[bytes], max_memory_bytes: int) -> None:
    """Serve requests. Memory is limited for good, the time of a job by the parent, who kills what takes longer."""
    # The hard limit stays: what decodes lossless JPEG starts a child of its own and sets one.
    resource.setrlimit(resource.RLIMIT_AS, (max_memory_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in requests:
        answers.write(json.dumps(_answer(json.loads(line))).encode() + b"\n")
        answers.flush()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    job = _JOBS[request.pop("job")]
    if "path" in request:
        request["path"] = Path(request["path"])
    request["out"] = Path(request["out"])
    try:
        with silence:
            return {"result": job(**request)}
    except RefusedError as error:
        return {"refused": str(error), "kind": error.kind}
    except ImagingError as error:
        return {"refused": str(error), "kind": "unreadable"}
    except Exception as error:  # noqa: BLE001 - parsers and decoders raise anything on broken bytes
        return {"refused": f"the instance cannot be read ({type(error).__name__})", "kind": "unreadable"}
