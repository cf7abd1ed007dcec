"""`hulumed demo`: from nothing to reports, on a platform of its own."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hulumed_platform.cli.ask import Policy, print_delta, print_end, stream_answer, study_part
from hulumed_platform.cli.console import console, counted
from hulumed_platform.cli.reports import print_report, wait_for_report

if TYPE_CHECKING:
    from hulumed_platform.cli.gateway import Gateway
    from hulumed_platform.cli.samples import Sample

_SETTINGS = {"max_new_tokens": "96"}
"""Untrained weights seldom find an end."""
_MAX_PLANES_SHOWN = 24
_PICTURED = 2
_ASKED = 1
_QUESTION = "Is there an intracranial haemorrhage?"


def demo(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Folder of the demo's platform and its picture.")
    ] = Path(".data/demo"),
) -> None:
    """Start a platform, post real studies, print their reports, draw what the model read, ask a question, and stop."""
    from hulumed_platform.cli.embedded import ROOMS
    from hulumed_platform.cli.gateway import Gateway
    from hulumed_platform.cli.platform import platform, wait_until_ready
    from hulumed_platform.cli.samples import studies
    from hulumed_platform.cli.view import PlatformView

    data = data.absolute()
    console.rule("Starting the platform")
    with platform(data, list(ROOMS), http_port=0, dicom_port=0, settings=_SETTINGS) as supervisor:
        wait_until_ready(supervisor, PlatformView(supervisor))
        with Gateway(f"http://{supervisor.rooms[-1].plan.address}") as gateway:
            _tour(gateway, studies(data / "brain"), data, supervisor.tick)
        console.rule("Stopping the platform")
    console.print("Stopped. `make up` starts one that stays; README.md says what to do with it.")


def _tour(gateway: "Gateway", samples: list["Sample"], data: Path, look_after: Callable[[], None]) -> None:
    from hulumed_platform.cli.dicom_files import scan
    from hulumed_platform.cli.post import send

    console.rule("Posting studies by DICOMweb")
    uids: list[str] = []
    for sample in samples:
        posted = send(gateway, scan(sample.files).instances)
        uids += posted.stored
        console.print(f"{sample.title}: {counted(posted.stored.total(), 'instance')}, study {uids[-1]}", soft_wrap=True)
    console.rule("Reports")
    for sample, uid in zip(samples, uids, strict=True):
        print_report(sample.title, wait_for_report(gateway, uid, meanwhile=look_after))
    console.rule("What the model read")
    _draw(gateway, samples[_PICTURED], uids[_PICTURED], data / "evidence.png")
    console.rule("A question")
    _ask(gateway, samples[_ASKED], uids[_ASKED])


def _draw(gateway: "Gateway", sample: "Sample", uid: str, picture: Path) -> None:
    from hulumed_platform.cli.evidence import marked_planes
    from hulumed_platform.cli.picture import contact_sheet

    item = gateway.get(f"/studies/{uid}/evidence")["items"][0]
    kept_bits = {number: base64.b64decode(plane["kept_bits"]) for number, plane in enumerate(item["planes"])}
    planes = marked_planes(sample.files, kept_bits, item=0, max_planes=_MAX_PLANES_SHOWN)
    contact_sheet(planes, title=sample.title).save(picture)
    console.print(f"{sample.title}: its planes with the kept patches marked are in {picture}", soft_wrap=True)


def _ask(gateway: "Gateway", sample: "Sample", uid: str) -> None:
    console.print(f"[bold]{sample.title}: {_QUESTION}[/bold]")
    answer = stream_answer(gateway, _QUESTION, [study_part(uid)], Policy.HULUMED, on_text=print_delta)
    print_end(answer)
