"""`hulumed ask`: a question about images, volumes, videos or stored studies."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hulumed_platform.cli.console import console, megabytes, printable
from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.options import AsJson, Data, Url, gateway_url

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
