"""`hulumed ask`: a question about images, volumes, videos or stored studies."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hulumed_platform.cli.console import console, megabytes, printable
from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.options import AsJson, Data, Url, gateway_url
from hulumed_platform.cli.provenance import print_facts

if TYPE_CHECKING:
    from hulumed_platform.cli.gateway import Gateway


class Axis(StrEnum):
    """The plane that the slices of a volume lie in."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


class Policy(StrEnum):
    """Which visual tokens the language model reads."""

    HULUMED = "hulumed"
    UPSTREAM = "upstream"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer and where it comes from."""

    text: str
    finish_reason: str
    provenance: dict[str, Any]


_File = list[Path]


def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What you want to know.")],
    data: Data = Path(".data"),
    url: Url = None,
    study: Annotated[
        list[str] | None, typer.Option(metavar="UID", help="Study Instance UID of a stored study.")
    ] = None,
    image: Annotated[_File | None, typer.Option(exists=True, dir_okay=False, help="PNG, JPEG, TIFF, DICOM, …")] = None,
    volume: Annotated[_File | None, typer.Option(exists=True, help="NIfTI, or a folder of DICOM files.")] = None,
    video: Annotated[
        _File | None, typer.Option(exists=True, dir_okay=False, help="MP4, AVI, GIF, DICOM cine, …")
    ] = None,
    window_center: Annotated[
        float | None, typer.Option(help="Grey value in the middle of the window (CT: HU).")
    ] = None,
    window_width: Annotated[float | None, typer.Option(help="Width of the window.")] = None,
    axis: Annotated[Axis | None, typer.Option(help="Plane to slice a volume in.")] = None,
    num_planes: Annotated[int | None, typer.Option(min=1, help="Planes to take, spread evenly.")] = None,
    start: Annotated[float | None, typer.Option(metavar="SECONDS", min=0, help="Where in a video to begin.")] = None,
    end: Annotated[float | None, typer.Option(metavar="SECONDS", min=0, help="Where in a video to end.")] = None,
    fps: Annotated[float | None, typer.Option(help="Planes for each second of video.")] = None,
    policy: Annotated[Policy, typer.Option(help="Which visual tokens are kept.")] = Policy.HULUMED,
    *,
    as_json: AsJson = False,
) -> None:
    """Ask a question about studies, images, volumes or videos, and stream the answer."""
    from hulumed_platform.cli.gateway import Gateway

    options = {
        "window_center": window_center,
        "window_width": window_width,
        "axis": axis,
        "num_planes": num_planes,
        "start_s": start,
        "end_s": end,
        "fps": fps,
    }
    given = {name: value for name, value in options.items() if value is not None}
    with Gateway(gateway_url(url, data)) as gateway:
        parts = [_study_part(uid, given) for uid in study or []]
        for kind, paths in (("image", image), ("volume", volume), ("video", video)):
            parts += [_file_part(gateway, kind, path, given) for path in paths or []]
        request = {
            "model": gateway.get("/v1/models")["data"][0]["id"],
            "messages": [{"role": "user", "content": [*parts, {"type": "text", "text": question}]}],
            "hulumed": {"policy": policy},
        }
        answer = stream_answer(gateway, request, on_text=_ignore if as_json else _print_delta)
    if as_json:
        print(json.dumps(asdict(answer), indent=2))
    else:
        console.print("\n")
        print_facts(answer.provenance)


def stream_answer(gateway: "Gateway", request: dict[str, Any], *, on_text: Callable[[str], None]) -> Answer:
    """Ask, handing text on as it comes.

    Raises:
        CliError: The gateway refuses, or the stream breaks off before its end.
    """


def _print_delta(text: str) -> None:
    console.print(printable(text), end="", markup=False, soft_wrap=True)


def _ignore(_text: str) -> None:
    """JSON is printed as a whole."""
