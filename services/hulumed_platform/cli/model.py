"""`hulumed model`: look into checkpoint folders."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from hulumed_platform.cli.console import console, megabytes
from hulumed_platform.cli.errors import CliError

if TYPE_CHECKING:
    from hulumed_platform.model.inspect import CheckpointReport
    from hulumed_platform.model.parity import CaseResult, Deviation

app = typer.Typer(no_args_is_help=True, help="Look into checkpoint folders.")

Folder = Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="A checkpoint folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_COLUMNS = ("patches", "features", "projected", "logits")


@app.command()
def inspect(folder: Folder, *, as_json: AsJson = False) -> None:
    """Show a checkpoint's layout, sizes and digests, and what it lacks."""
    from hulumed_platform.model.inspect import inspect as inspect_checkpoint

    with _model_errors():
        report = inspect_checkpoint(folder)
    if as_json:
        print(json.dumps(_report_fields(report), indent=2))
    else:
        _print_report(folder, report)


@app.command()
def parity(folder: Folder, *, as_json: AsJson = False) -> None:
    """Compare our code with recorded results of the published code; exit with 1 where they differ.

    DIR holds a checkpoint and golden.safetensors, whose tensors CASE.frames_u8, CASE.encoder_out, … are compared.
    A case that lacks one of them does not pass.
    """
    from hulumed_platform.model.parity import run

    with _model_errors():
        results = run(folder)
    passed = all(result.passed for result in results)
    if as_json:
        cases = [{**_finite(asdict(result)), "passed": result.passed} for result in results]
        print(json.dumps({"passed": passed, "cases": cases}, indent=2))
    else:
        _print_parity(results)
    raise typer.Exit(0 if passed else 1)


@app.command()
def untrained(
    folder: Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="Folder to write.")],
    seed: Annotated[int, typer.Option(help="Seed of the random weights.")] = 0,
) -> None:
    """Write a small checkpoint with random weights, labelled untrained, to try the platform with."""
    from hulumed_platform.model.untrained import write_untrained

    if folder.exists() and any(folder.iterdir()):
        raise CliError(f"{folder} is not empty; name a new folder")
    with _model_errors():
        checkpoint = write_untrained(folder, seed=seed)
    console.print(f"{folder}: {checkpoint.label} checkpoint with seed {seed}", soft_wrap=True)


@contextmanager
def _model_errors() -> Iterator[None]:
    from hulumed_platform.model.errors import ModelError

    try:
        yield
    except ModelError as error:
        raise CliError(str(error)) from error


def _report_fields(report: "CheckpointReport") -> dict[str, Any]:
    """What `inspect` tells, as JSON has it."""
    digests = report.digests
    return {
        **asdict(report),
        "digests": None if digests is None else {**asdict(digests), "checkpoint": digests.checkpoint},
        "num_parameters": report.num_parameters,
        "complete": report.complete,
    }


def _print_report(folder: Path, report: "CheckpointReport") -> None:
    facts = Table.grid(padding=(0, 2))
    facts.add_column()
    facts.add_column(overflow="fold")
    manifest = {None: "none", True: "matches", False: "[red]does not match the weights[/red]"}
    for name, value in (
        (
            "label",
            escape(report.label) if report.trained else f"[yellow]{escape(report.label)}[/yellow] (random weights)",
        ),
        ("layout", report.layout.value),
        ("language model", f"{report.family.value}, {report.num_layers} layers of width {report.hidden_size:,}"),
        ("vision encoder", f"{report.vision_num_layers} layers of width {report.vision_hidden_size:,}"),
        ("context", f"{report.max_context:,} tokens, vocabulary {report.vocab_size:,}"),
        ("tokenizer", "[red]no service can start with it[/red]" if report.tokenizer_fault else "present"),
        ("weight files", f"{len(report.files)}, {megabytes(sum(report.files.values()))}"),
        ("manifest", manifest[report.manifest_matches]),
        ("digest", report.digests.checkpoint if report.digests else "none: the weights are not complete"),
    ):
        facts.add_row(name, value)
    console.print(f"[bold]{escape(str(folder))}[/bold]", facts, _parts_table(report), sep="\n", soft_wrap=True)
    if report.tokenizer_fault:
        console.print(report.tokenizer_fault, style="red", markup=False, soft_wrap=True)
    for part in report.parts:
        if part.differences:
            console.print(f"{part.part.value}: {part.differences}", style="red", markup=False, soft_wrap=True)


def _parts_table(report: "CheckpointReport") -> Table:
    table = Table(
        "part",
        "parameters",
        "stored as",
        Column("digest", overflow="fold"),
        box=None,
        pad_edge=False,
        padding=(0, 3, 0, 0),
    )
    for part in report.parts:
        digest = report.digests.of(part.part) if report.digests else ""
        table.add_row(part.part.value, f"{part.num_parameters:,}", ", ".join(part.dtypes), digest)
    table.add_row("all", f"{report.num_parameters:,}")
    return table


def _print_parity(results: list["CaseResult"]) -> None:
    table = Table("case", *_COLUMNS, "mask", "tokens", "", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for result in results:
        errors = [_error(getattr(result, name)) for name in _COLUMNS]
        verdict = "[green]equal[/green]" if result.passed else "[red]DIFFERS[/red]"
        if result.agrees and not result.passed:
            verdict = "[red]INCOMPLETE[/red]"
        table.add_row(escape(result.case), *errors, _equal(result.mask_equal), _equal(result.tokens_equal), verdict)
    console.print("Largest absolute errors against the published code:", table, sep="\n")
    for result in results:
        if result.not_recorded:
            names = ", ".join(f"{result.case}.{name}" for name in result.not_recorded)
            console.print(f"not recorded: {names}", style="red", markup=False, soft_wrap=True)


def _error(deviation: "Deviation | None") -> str:
    if deviation is None:
        return "not checked"
    shown = "other shape" if math.isinf(deviation.largest) else f"{deviation.largest:.1e}"
    return shown if deviation.within_tolerance else f"[red]{shown}[/red]"


def _equal(equal: bool | None) -> str:
    return {None: "not checked", True: "equal", False: "[red]differ[/red]"}[equal]


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: an error without a number becomes null."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
