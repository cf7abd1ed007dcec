"""The Store Instances Response Module (PS3.18, annex I), and what it must agree with: what is really stored."""

from dataclasses import dataclass
from typing import Any

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.server import Answer
from hulumed_platform.dicomweb_check.synthetic import Instance
from hulumed_platform.dicomweb_check.verdict import DeviationError, require
from hulumed_platform.dicomweb_check.workitems import Attributes

RETRIEVE_URL = "00081190"
WARNING_REASON = "00081196"
FAILURE_REASON = "00081197"
FAILED = "00081198"
REFERENCED = "00081199"
OTHER_FAILURES = "0008119A"


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply to a request to store."""

    attributes: Attributes

    def items(self, sequence: str) -> list[Attributes]:
        """The items of a sequence, none where it is absent."""
        return list(self.attributes.get(sequence, {}).get("Value", []))

    def stored(self, instance: Instance) -> Attributes | None:
        """The item that says that an instance is stored."""
        return _item(self.items(REFERENCED), instance)

    def failed(self, instance: Instance) -> Attributes | None:
        """The item that says that an instance is not stored."""
        return _item(self.items(FAILED), instance)

    @property
    def reasons(self) -> list[int]:
        """Every Failure Reason."""
        return [reason_of(item) for item in (*self.items(FAILED), *self.items(OTHER_FAILURES))]

    @property
    def warnings(self) -> list[int]:
        """Every Warning Reason."""
        return [int(value(item, WARNING_REASON)) for item in self.items(REFERENCED) if WARNING_REASON in item]


def read_reply(answer: Answer) -> Reply:
    """The reply in an answer; one without a body has nothing in it.

    Raises:
        DeviationError: the body is no data set in JSON.
    """
    found = answer.json() if answer.body else {}
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, dict):
        raise DeviationError(f"{answer}; the body is no data set in the DICOM JSON model")
    return Reply(found)


def value(attributes: Attributes, tag: str) -> Any:
    """The first value of an attribute, "" where it is absent or empty."""
    return next(iter(attributes.get(tag, {}).get("Value", [])), "")


def reason_of(item: Attributes) -> int:
    """The Failure Reason of an item.

    Raises:
        DeviationError: it has none, or no number.
    """
    reason = value(item, FAILURE_REASON)
    if not isinstance(reason, int):
        raise DeviationError(f"an item has the Failure Reason {reason!r}; exactly one number is to stand there")
    return reason


def expect_stored(bench: Bench, answer: Answer, *instances: Instance, statuses: tuple[int, ...] = (200,)) -> str:
    """Require that the answer says that all are stored, and that it is true."""
    require(answer.status in statuses, answer)
    reply = read_reply(answer)
    for instance in instances:
        require(reply.stored(instance) is not None, f"{answer}; no Referenced SOP item for a stored instance")
        require(bench.holds(instance, patient=True) is not False, f"{answer}; but the instance cannot be retrieved")
    return str(answer)


def expect_refused(bench: Bench, answer: Answer, *instances: Instance, statuses: tuple[int, ...]) -> str:
    """Require a status, and that none of the instances is there."""
    require(answer.status in statuses, answer)
    for instance in instances:
        require(not bench.holds(instance), f"{answer}; but the instance is stored")
    return str(answer)


def _item(items: list[Attributes], instance: Instance) -> Attributes | None:
    return next((item for item in items if value(item, "00081155") == instance.sop), None)
