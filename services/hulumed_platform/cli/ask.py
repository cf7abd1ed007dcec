"""`hulumed ask`: a question about images, volumes, videos or stored studies."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from hulumed_platform.cli.console import console, errors, printable
from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.options import AsJson, Data, Url, gateway_url
from hulumed_platform.cli.provenance import label, print_facts

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


_WINDOW = ("window_center", "window_width")
_TIMES = ("start_s", "end_s", "fps")
_OPTIONS = {
    "study": (*_WINDOW, "num_planes", *_TIMES),
    "image": _WINDOW,
    "volume": (*_WINDOW, "axis", "num_planes"),
    "video": (*_WINDOW, "num_planes", *_TIMES),
}
"""What can be asked of each kind of medium."""

_File = list[Path]


def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What you want to know.")],
    *,
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
    media: dict[str, Sequence[str | Path]] = {
        "study": study or [],
        "image": image or [],
        "volume": volume or [],
        "video": video or [],
    }
    _check_options(given, [kind for kind, sources in media.items() if sources])
    with Gateway(gateway_url(url, data)) as gateway:
        parts = [_part(gateway, kind, source, given) for kind, sources in media.items() for source in sources]
        answer = stream_answer(gateway, question, parts, policy, on_text=_nothing if as_json else print_delta)
    if as_json:
        print(json.dumps(asdict(answer), indent=2))
        return
    print_end(answer)


def stream_answer(
    gateway: "Gateway",
    question: str,
    parts: Sequence[dict[str, Any]],
    policy: Policy,
    *,
    on_text: Callable[[str], None],
) -> Answer:
    """Ask about media, handing the text on as it comes.

    Raises:
        CliError: The gateway refuses, or the stream breaks off before its end.
    """
    request = {
        "model": gateway.get("/v1/models")["data"][0]["id"],
        "messages": [{"role": "user", "content": [*parts, {"type": "text", "text": question}]}],
        "hulumed": {"policy": policy},
    }
    text = ""
    for chunk in gateway.chat(request):
        (choice,) = chunk["choices"]
        delta = choice["delta"].get("content") or ""
        on_text(delta)
        text += delta
        if choice["finish_reason"] is not None:
            return Answer(text, choice["finish_reason"], chunk["hulumed"]["provenance"])
    raise CliError("the answer broke off before its end; ask again")


def study_part(uid: str) -> dict[str, Any]:
    """A stored study, as a part of a question."""
    return {"type": "study", "study": {"study_instance_uid": uid}}


def _check_options(given: Mapping[str, Any], kinds: Sequence[str]) -> None:
    """Refuse an option that none of the media can take: ignored, it would look as if it had been obeyed."""
    for option in given:
        takers = [kind for kind, options in _OPTIONS.items() if option in options]
        if not set(takers) & set(kinds):
            name = option.removesuffix("_s").replace("_", "-")
            raise CliError(f"--{name} is for {' and '.join(takers)}; give one, or leave the option out")


def _part(gateway: "Gateway", kind: str, source: str | Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """A medium as a part of the question, its files uploaded."""
    options = {name: value for name, value in given.items() if name in _OPTIONS[kind]}
    if isinstance(source, str):
        part = study_part(source)
        part["study"] |= options
        return part
    return {"type": kind, kind: {"file_ids": _upload(gateway, _files(source)), **options}}


def _files(source: Path) -> list[Path]:
    """The file itself, or the DICOM files in a folder.

    Raises:
        CliError: The folder holds none.
    """
    from hulumed_platform.cli.dicom_files import scan

    if source.is_file():
        return [source]
    if instances := scan([source]).instances:
        return [instance.path for instance in instances]
    raise CliError(f"{source} holds no DICOM file")


def _upload(gateway: "Gateway", files: Sequence[Path]) -> list[str]:
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        return [gateway.upload(path) for path in progress.track(files, description="uploading")]


def print_delta(text: str) -> None:
    """Print text of an answer as it comes."""
    console.print(printable(text), end="", markup=False, soft_wrap=True)


def print_end(answer: Answer) -> None:
    """Print what a streamed answer is worth and where it comes from."""
    console.print("\n")
    console.print(label(answer.provenance))
    print_facts(answer.provenance)


def _nothing(_text: str) -> None:
    """JSON is printed as a whole, at the end."""
