"""What the documents say of the code is what the code does."""

import re
from pathlib import Path

from pydicom.datadict import keyword_for_tag
from pynetdicom import ALL_TRANSFER_SYNTAXES

from hulumed_platform.archive.intake import FailureReason
from hulumed_platform.archive.query import Level
from hulumed_platform.archive.search import supported

DOCS = Path(__file__).resolve().parent.parent / "docs"
CONFORMANCE = (DOCS / "conformance.md").read_text()


def keyword(path: str) -> str:
    """`00400275.00400009` as `RequestAttributesSequence.ScheduledProcedureStepID`."""
    return ".".join(keyword_for_tag(int(tag, 16)) for tag in path.split("."))


def test_the_conformance_statement_lists_every_transfer_syntax() -> None:
    """A syntax that a new version of the library brings, or drops, is a change of what we claim."""
    assert set(re.findall(r"^\| (1\.2\.840\.10008\.1\.2[0-9.]*) \|", CONFORMANCE, re.MULTILINE)) == {
        str(uid) for uid in ALL_TRANSFER_SYNTAXES
    }


def test_the_conformance_statement_lists_every_failure_reason() -> None:
    """Peers look a status up here."""
    listed = re.findall(r"^\| ([0-9A-F]{4}) \|", CONFORMANCE, re.MULTILINE)
    assert listed == [f"{reason.value:04X}" for reason in FailureReason]


def test_the_conformance_statement_lists_every_attribute_of_searches() -> None:
    """Level by level, those of the levels above left out."""
    above: set[str] = set()
    for level in Level:
        (row,) = re.findall(rf"^\| {level.name.lower()} \| (.*) \|$", CONFORMANCE, re.MULTILINE)
        names = {keyword(path) for path in supported(level)}
        assert set(row.split(", ")) == names - above
        above = names


def test_links_between_documents_lead_somewhere() -> None:
    """A file that is moved takes the links to it along."""
    for document in (*DOCS.glob("*.md"), *DOCS.parent.glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
