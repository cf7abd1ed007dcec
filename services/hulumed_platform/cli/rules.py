"""`hulumed rules`: check a rules file, and try rules on a study without storing or sending anything."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hulumed_platform.cli.console import console, errors, print_text
from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.options import Data, Url

if TYPE_CHECKING:
    from hulumed_platform.archive.rules.facts import SeriesFacts, StudyFacts
    from hulumed_platform.archive.rules.load import RuleSet
    from hulumed_platform.archive.rules.schema import Completion, Rule
    from hulumed_platform.archive.rules.trial import Trial

app = typer.Typer(no_args_is_help=True, help="Check rules, and try them on a study.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="A rules file.")]
RulesFile = Annotated[
    Path | None,
    typer.Option(
        "--rules", metavar="FILE", envvar="HULUMED_WORKER_RULES_FILE", help="Rules file; without it, the built-in rule."
    ),
]
StudyArgument = Annotated[
    str, typer.Argument(metavar="STUDY", help="A Study Instance UID, or a folder or file of DICOM files of one study.")
]


@app.command()
def check(file: File) -> None:
    """Check a rules file; print every fault with its line. Exit with 1 where there is one."""
    rules = _read(file)
    console.print(f"{file}: {len(rules.rules)} rules, {rules.digest}", soft_wrap=True)
    for rule in rules.rules:
        if named := _not_carried_out(rule):
            errors.print(
                f"note: rule {rule.name} names {named}, which is not carried out yet", style="yellow", soft_wrap=True
            )


@app.command("test")
def try_on(study: StudyArgument, rules_file: RulesFile = None, data: Data = Path(".data"), url: Url = None) -> None:
    """Show which rule a study goes by and what follows. Exit with 1 where none matches.

    STUDY is looked for on disk first, then in the platform of --url, else in the data folder of --data. What is
    printed holds values of the study, which may be a patient's.
    """
    from hulumed_platform.archive.rules.trial import try_rules

    rules = _builtin() if rules_file is None else _read(rules_file)
    facts = _facts(study, data, url)
    trial = try_rules(rules, facts)
    for line in _told(trial, rules, facts):
        print_text(line)
    raise typer.Exit(1 if trial.rule is None else 0)


def _read(file: Path) -> "RuleSet":
    from hulumed_platform.archive.rules.load import RulesError, read_rules

    try:
        return read_rules(file)
    except RulesError as error:
        raise CliError("\n".join(f"{file}:{fault.line}: {fault.message}" for fault in error.faults)) from error


def _builtin() -> "RuleSet":
    """The built-in rule with the worker's defaults; its settings are the worker's own affair."""
    from hulumed_platform.archive.rules.builtin import builtin_rules
    from hulumed_platform.archive.rules.schema import Prompt
    from hulumed_platform.worker.settings import WorkerSettings

    defaults = {name: field.default for name, field in WorkerSettings.model_fields.items()}
    prompt = Prompt(text=defaults["report_prompt"], max_new_tokens=defaults["max_new_tokens"])
    return builtin_rules(prompt, quiet_s=defaults["quiet_s"])


def _facts(study: str, data: Path, url: str | None) -> "StudyFacts":
    if Path(study).exists():
        return _facts_on_disk(Path(study))
    return _facts_of_platform(study, url) if url else _facts_of_data(study, data)


def _facts_on_disk(path: Path) -> "StudyFacts":
    from hulumed_platform.archive.rules.folder import facts_of_files
    from hulumed_platform.cli.dicom_files import scan
    from hulumed_platform.core.errors import PlatformError

    try:
        studies = facts_of_files(instance.path for instance in scan([path]).instances)
    except PlatformError as error:
        raise CliError(f"{path}: {error.message}") from error
    if len(studies) != 1:
        raise CliError(f"{path} holds {len(studies)} studies; give a folder of one")
    return next(iter(studies.values()))


def _facts_of_data(study: str, data: Path) -> "StudyFacts":
    """From the data folder's own database, which may be in use."""
    from hulumed_platform.archive.rules.known import stored_facts
    from hulumed_platform.core.errors import PlatformError
    from hulumed_platform.storage.database import Database
    from hulumed_platform.storage.receiving import Receiving
    from hulumed_platform.storage.studies import Studies

    file = data.absolute() / "hulumed.sqlite"
    if not file.exists():
        raise CliError(
            f"{study} is no file or folder, and there is no platform on {data}; name one with --data or --url"
        )
    database = Database(f"sqlite:///{file}")
    try:
        database.require_current_schema()
        with database.reading() as session:
            found = Studies(session).get(_tenant(), study)
            series = Studies(session).series(found.id)
            instances = Receiving(session).instance_attributes([one.id for one in series])
        return stored_facts(found, series, instances)
    except PlatformError as error:
        raise CliError(f"{data}: {error.message}") from error
    finally:
        database.close()


def _tenant() -> str:
    """Whose studies a gateway on the data folder stores."""
    from hulumed_platform.gateway.settings import GatewaySettings

    return os.environ.get("HULUMED_GATEWAY_TENANT", str(GatewaySettings.model_fields["tenant"].default))


def _facts_of_platform(study: str, url: str) -> "StudyFacts":
    """From the metadata of a platform's WADO-RS (PS3.18, section 10.4)."""
    from hulumed_platform.archive.rules.folder import facts_of_metadata
    from hulumed_platform.cli.gateway import Gateway

    with Gateway(url.rstrip("/")) as gateway:
        metadata: list[dict[str, Any]] = gateway.get(f"/dicom-web/studies/{study}/metadata")
    return facts_of_metadata(metadata)


def _told(trial: "Trial", rules: "RuleSet", facts: "StudyFacts") -> Iterator[str]:
    yield f"rules {rules.digest}"
    for passed in trial.passed:
        yield f"{passed.name} does not match:"
        yield from (f"    {reason}" for reason in passed.reasons)
    rule = trial.rule
    if rule is None:
        yield "no rule matches: the study goes nowhere, and its state will be unmatched"
        return
    yield f"{rule.name} matches: {rule.when}"
    yield f"  series to the model ({len(trial.chosen)} of {len(facts.series)}):"
    yield from (f"    {_series(one)}" for one in trial.chosen)
    if trial.left_out:
        yield "  series left out:"
    for one, reasons in trial.left_out:
        yield f"    {_series(one)}; {'; '.join(reasons)}"
    yield from (f"  {line}" for line in (*_timing(trial.completion, trial.missing), *_asked(rule)))


def _series(series: "SeriesFacts") -> str:
    names = ("Modality", "SeriesNumber", "SeriesDescription")
    words = (str(value) for name in names for value in series.values(name)[:1])
    (count,) = series.values("NumberOfSeriesRelatedInstances")
    return " ".join([series.series_instance_uid, *words, f"({count:g} instances)"])


def _timing(completion: "Completion", missing: Sequence[str]) -> Iterator[str]:
    yield f"complete: series quiet for {completion.series_quiet_s:g} s, study for {completion.study_quiet_s:g} s"
    for wanted in completion.required_series:
        yield f"required series: {wanted} ({'missing' if wanted.source in missing else 'there'})"
    if completion.force_s is not None:
        yield f"by force: {completion.force_s:g} s after the first image; then {completion.on_force.value}"
    if completion.end_on_study_stow:
        yield "ended by a whole-study STOW"


def _asked(rule: "Rule") -> Iterator[str]:
    if rule.prompt.system:
        yield f"system: {rule.prompt.system}"
    yield f"prompt: {rule.prompt.text}"
    yield f"answer: at most {rule.prompt.max_new_tokens} tokens"
    if rule.window:
        yield f"window: center {rule.window.center:g}, width {rule.window.width:g}"
    if rule.axis or rule.num_planes:
        yield f"planes: {rule.num_planes or 'all'}, {rule.axis.value if rule.axis else 'axial'}"
    if priors := rule.priors:
        modality = ", same modality" if priors.same_modality else ""
        yield (
            f"priors: {priors.count} at most from {priors.source}, within {priors.within_days} days{modality}; "
            f"{priors.when_away.value} when it does not answer"
        )
    yield f"priority: {rule.priority}"
    if named := _not_carried_out(rule):
        yield f"not carried out yet: {named}"


def _not_carried_out(rule: "Rule") -> str:
    named = [f"deidentify {rule.deidentify}"] if rule.deidentify else []
    if rule.destinations:
        named.append(f"destinations {', '.join(rule.destinations)}")
    return " and ".join(named)
