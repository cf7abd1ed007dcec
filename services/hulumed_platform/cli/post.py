"""`hulumed post`: DICOM files to the platform, by DICOMweb."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from hulumed_platform.cli.console import console, counted, errors, megabytes
from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.options import Data, Url, gateway_url

if TYPE_CHECKING:
    from hulumed_platform.cli.dicom_files import DicomFile, Scan
    from hulumed_platform.cli.gateway import Gateway, StowResult

_MAX_BATCH_FILES = 64
_MAX_BATCH_BYTES = 64 * 1024 * 1024
_MAX_LISTED = 10

_CANNOT_UNDERSTAND = 0xC000
_REASONS = {
    0x0110: "processing failed",
    0x0111: "another instance is stored under its UID",
    0x0112: "no such instance",
    0x0117: "invalid instance",
    0x0122: "SOP class not supported",
    0x0124: "not allowed",
    0xA700: "out of resources",
    0xA900: "does not match its SOP class or study",
    _CANNOT_UNDERSTAND: "cannot be understood",
    0xC122: "transfer syntax not supported",
}
"""PS3.18 table I.2-2 and PS3.4 annex CC.2.3, by the first code of a range."""


@dataclass(slots=True)
class Posted:
    """What became of the instances: how many of each study are stored, and why others are not."""

    stored: Counter[str] = field(default_factory=Counter)
    failed: dict[Path, str] = field(default_factory=dict)


def post(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="DICOM files, or folders of them.")],
    data: Data = Path(".data"),
    url: Url = None,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the reports and print them.")] = False,
) -> None:
    """Post DICOM files or folders. Exit with 1 where an instance was refused."""
    from hulumed_platform.cli.dicom_files import scan
    from hulumed_platform.cli.gateway import Gateway
    from hulumed_platform.cli.reports import print_report, wait_for_report

    found = scan(paths)
    if not found.instances:
        raise CliError(f"no DICOM file among {len(found.others)} files; a DICOM file has DICM at byte 128 (PS3.10)")
    with Gateway(gateway_url(url, data)) as gateway:
        posted = send(gateway, found.instances)
        _print_summary(found, posted)
        for study in posted.stored if wait else ():
            print_report(study, wait_for_report(gateway, study))
    raise typer.Exit(1 if posted.failed else 0)


def send(gateway: "Gateway", instances: Sequence["DicomFile"]) -> Posted:
    """Post instances in batches, each of one study, with a progress bar."""
    from hulumed_platform.cli.dicom_files import batches

    posted = Posted()
    columns = (TextColumn("posting"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=sum(instance.size_bytes for instance in instances))
        for study in _by_study(instances).values():
            for batch in batches(study, max_files=_MAX_BATCH_FILES, max_bytes=_MAX_BATCH_BYTES):
                result = gateway.store([file.path for file in batch], lambda sent: progress.advance(task, sent))
                _account(batch, result, posted)
    return posted


def _by_study(instances: Sequence["DicomFile"]) -> dict[str, list["DicomFile"]]:
    studies: dict[str, list[DicomFile]] = defaultdict(list)
    for instance in instances:
        studies[instance.study_instance_uid].append(instance)
    return studies


def _account(batch: Sequence["DicomFile"], result: "StowResult", posted: Posted) -> None:
    for file in batch:
        failure = result.failed.get(file.sop_instance_uid)
        # Two files of one UID are both in the answer, and it does not say which of them is stored.
        if failure is None and file.sop_instance_uid in result.stored:
            posted.stored[file.study_instance_uid] += 1
        else:
            posted.failed[file.path] = reason(failure or _CANNOT_UNDERSTAND)


def reason(code: int) -> str:
    """A failure reason of STOW-RS in words; codes of one range share a meaning."""
    known = _REASONS.get(code) or _REASONS.get(code & 0xFF00) or _REASONS.get(code & 0xF000)
    return f"{known or 'refused'} ({code:04X}H)"


def _print_summary(found: "Scan", posted: Posted) -> None:
    sizes: Counter[str] = Counter()
    for instance in found.instances:
        sizes[instance.study_instance_uid] += instance.size_bytes
    for study, count in posted.stored.items():
        console.print(f"study {study}: {counted(count, 'instance')} stored, {megabytes(sizes[study])}", soft_wrap=True)
    _print_paths("not DICOM instances, left out", dict.fromkeys(found.others, ""))
    _print_paths("refused", posted.failed)


def _print_paths(what: str, paths: dict[Path, str]) -> None:
    if not paths:
        return
    errors.print(f"{len(paths)} {what}:", style="yellow")
    for path, why in list(paths.items())[:_MAX_LISTED]:
        errors.print(f"  {path}" + (f": {why}" if why else ""), markup=False, soft_wrap=True)
    if len(paths) > _MAX_LISTED:
        errors.print(f"  … and {len(paths) - _MAX_LISTED} more")
