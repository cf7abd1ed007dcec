"""The command `hulumed`. Commands import what they need when they run, so that `--help` answers at once."""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from hulumed_platform.cli import model, rules
from hulumed_platform.cli.ask import ask
from hulumed_platform.cli.console import errors
from hulumed_platform.cli.demo import demo
from hulumed_platform.cli.dicomweb_check import dicomweb_check
from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.post import post
from hulumed_platform.cli.status import status
from hulumed_platform.cli.up import down, up


class _Reporting(TyperGroup):
    """Says an expected failure in one line and exits with 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CliError as error:
            errors.print(f"hulumed: {error}", style="red", markup=False, soft_wrap=True)
            sys.exit(1)


app = typer.Typer(
    cls=_Reporting,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run the Hulu-Med platform on this machine, post studies to it, and ask it questions.",
)
for command in (up, down, status, post, ask, demo, dicomweb_check):
    app.command()(command)
app.add_typer(model.app, name="model")
app.add_typer(rules.app, name="rules")
