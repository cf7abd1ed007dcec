"""`hulumed dicomweb-check` as a person and a script use it."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hulumed_platform.cli.main import app
from hulumed_platform.dicomweb_check.catalogue import CATALOGUE
from tests.dicomweb_check.peer import serving
from tests.dicomweb_check.store import Store

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "dicomweb-check.md"


def _run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["dicomweb-check", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_fault_is_shown_with_its_section_and_fails_the_command() -> None:
    """Who reads it must be able to write the ticket: what was sent, expected and got."""
    with serving(Store("always-200")) as url:
        code, out, _ = _run(url, "--yes-write", "--only", "stow-all-stored,stow-some-stored")
    assert code == 1
    assert re.search(r"pass +stow-all-stored +PS3\.18 10\.5\.3\.1", out)
    assert re.search(r"fail +stow-some-stored", out)
    assert re.search(r"got: +200 application/dicom\+json", out)
    assert "1 pass, 1 fail, 0 warn, 0 skipped" in out
    assert "patients whose ID begins with DWCHECK-" in out


def test_json_is_for_programs() -> None:
    """A pipeline reads counts and names; nothing else is on standard output."""
    with serving(Store()) as url:
        code, out, _ = _run(url, "--yes-write", "--json", "--only", "stow-all-stored,ups-create")
    report = json.loads(out)
    assert code == 0
    assert report["passed"] is True
    assert report["counts"] == {"pass": 1, "fail": 0, "warn": 0, "skipped": 1}
    assert [check["name"] for check in report["checks"]] == ["stow-all-stored", "ups-create"]
    assert set(report["checks"][0]) == {"name", "service", "section", "outcome", "sent", "expected", "got"}


def test_without_permission_nothing_is_stored() -> None:
    """The address may be that of a hospital's archive; the reason names the option."""
    with serving(Store()) as url:
        code, out, _ = _run(url, "--only", "stow-*")
    assert code == 0
    assert "--yes-write" in out


def test_list_names_every_check() -> None:
    """Names for --only must be found without a server."""
    code, out, _ = _run("--list")
    assert code == 0
    assert all(check.name in out for check in CATALOGUE)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["http://127.0.0.1:9/x", "--only", "stow-al-stored"], "there is no check 'stow-al-stored'"),
        (["http://127.0.0.1:9/x"], "cannot be checked"),
        (["pacs.example/dicom-web"], "https://"),
        ([], "https://"),
        (["http://127.0.0.1:9/x", "--header", "Bearer x"], "NAME: VALUE"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments: list[str], told: str) -> None:
    """No traceback, and how to mend it."""
    code, _, err = _run(*arguments)
    assert code == 1
    assert told in err
    assert "Traceback" not in err


def test_the_page_names_options_and_checks_that_exist() -> None:
    """A page that names an old option sends its reader astray."""
    page = _PAGE.read_text()
    _, shown, _ = _run("--help")
    assert all(option in shown for option in re.findall(r"`(--[a-z-]+)", page))
    names = {check.name for check in CATALOGUE}
    assert set(re.findall(r"`((?:stow|qido|wado|ups|commitment)-[a-z0-9-]+)`", page)) <= names
