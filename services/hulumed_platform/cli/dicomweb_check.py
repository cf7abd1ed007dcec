"""`hulumed dicomweb-check`: whether a DICOMweb server keeps to the standard."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from hulumed_platform.cli.console import console, errors
from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.options import AsJson

if TYPE_CHECKING:
    from hulumed_platform.dicomweb_check.bench import Bench
    from hulumed_platform.dicomweb_check.runner import Result
    from hulumed_platform.dicomweb_check.suite import Check


def dicomweb_check(
    url: Annotated[str | None, typer.Argument(metavar="URL", help="Root of the services, often …/dicom-web.")] = None,
    *,
    as_json: AsJson = False,
    only: Annotated[str | None, typer.Option(metavar="NAME,…", help="Checks to run; stow-* names a group.")] = None,
    list_checks: Annotated[bool, typer.Option("--list", help="List the checks and end.")] = False,
    header: Annotated[list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="Sent with each request.")] = None,
    yes_write: Annotated[
        bool, typer.Option("--yes-write", help="Store synthetic studies of a patient DWCHECK-… on the server.")
    ] = False,
) -> None:
    """Check any DICOMweb server against the standard. Exit with 1 where it breaks a rule.

    Most checks store small synthetic studies, and delete them where the server allows it; without --yes-write
    only those run that store nothing.
    """
    from hulumed_platform.dicomweb_check.bench import Bench
    from hulumed_platform.dicomweb_check.report import as_json as report_json
    from hulumed_platform.dicomweb_check.report import as_table, catalogue_table, passed
    from hulumed_platform.dicomweb_check.server import Server

    checks = _selected(only)
    if list_checks:
        console.print(catalogue_table(checks))
        return
    with Server(_root(url), _headers(header or [])) as server:
        bench = Bench(server, writes=yes_write)
        results = _run(bench, checks)
        left = bench.clean()
    if as_json:
        print(json.dumps(report_json(str(server.url), results, bench.patient_id, left), indent=2))
    else:
        console.print(as_table(results))
        if left:
            console.print(f"{left} studies may be left of patients whose ID begins with {bench.patient_id}")
    raise typer.Exit(0 if passed(results) else 1)


def _selected(only: str | None) -> "list[Check]":
    from hulumed_platform.dicomweb_check.catalogue import CATALOGUE, select

    try:
        return list(CATALOGUE) if only is None else select([name.strip() for name in only.split(",")])
    except ValueError as error:
        raise CliError(str(error)) from error


def _root(url: str | None) -> str:
    if url is None or not url.startswith(("http://", "https://")):
        raise CliError("name the root of the DICOMweb services, as in https://pacs.example/dicom-web")
    return url


def _headers(lines: list[str]) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise CliError("--header takes 'NAME: VALUE', as in --header 'Authorization: Bearer …'")
        headers[name.strip()] = value.strip()
    return headers


def _run(bench: "Bench", checks: "list[Check]") -> "list[Result]":
    from hulumed_platform.dicomweb_check.runner import run
    from hulumed_platform.dicomweb_check.verdict import DeviationError

    try:
        with errors.status("checking") as status:
            return run(bench, checks, lambda result: status.update(f"{result.name}: {result.outcome}"))
    except DeviationError as error:
        raise CliError(f"the server at {bench.server.url} cannot be checked: {error}") from error
