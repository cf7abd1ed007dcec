"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.state import RunFolder

Data = Annotated[
    Path, typer.Option("--data", metavar="DIR", envvar="HULUMED_DATA", help="Where the platform keeps everything.")
]
Url = Annotated[
    str | None,
    typer.Option(metavar="URL", envvar="HULUMED_URL", help="Gateway; without it, the one running on --data."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def gateway_url(url: str | None, data: Path) -> str:
    """The gateway to speak to.

    Raises:
        CliError: None is named and none runs.
    """
    if url is not None:
        return url.rstrip("/")
    gateway = RunFolder(data.absolute()).rooms().get("gateway")
    if gateway is None:
        raise CliError(f"no gateway runs on {data}; start one with `hulumed up`, or name one with --url")
    return f"http://{gateway.address}"
