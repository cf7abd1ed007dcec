"""`hulumed demo`: from nothing to reports, on a platform of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hulumed_platform.cli.console import console
from hulumed_platform.cli.reports import print_report, wait_for_report

if TYPE_CHECKING:
    from hulumed_platform.cli.gateway import Gateway
    from hulumed_platform.cli.samples import Sample

_MAX_PLANES_SHOWN = 24
_PICTURED = 2
_ASKED = 1


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
    with platform(data, list(ROOMS), http_port=0) as supervisor:
        wait_until_ready(supervisor, PlatformView(supervisor))
        with Gateway(f"http://{supervisor.rooms[-1].plan.address}") as gateway:
            _tour(gateway, studies(data / "brain"), data, supervisor.tick)
        console.rule("Stopping the platform")
    console.print("Stopped. `make up` starts one that stays; README.md says what to do with it.")
