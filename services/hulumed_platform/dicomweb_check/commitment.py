"""Storage commitment over REST: what is safe, what is not, and why (PS3.18, chapter 13)."""

from functools import partial

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.commitments import Reference, items
from hulumed_platform.dicomweb_check.reply import FAILED, REFERENCED, reason_of, value
from hulumed_platform.dicomweb_check.server import Answer
from hulumed_platform.dicomweb_check.service import Service
from hulumed_platform.dicomweb_check.suite import Suite
from hulumed_platform.dicomweb_check.synthetic import Instance, new_uid
from hulumed_platform.dicomweb_check.verdict import advise, offered, require
from hulumed_platform.dicomweb_check.workitems import Attributes, one

SUITE = Suite(Service.COMMITMENT)
_REQUEST = "PS3.18 13.4.3"
_REASONS = "PS3.3 C.14.1.1"
_KNOWN_REASONS = (0x0110, 0x0112, 0x0119, 0x0122, 0x0131, 0x0213)
_CT, _MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def _stored(bench: Bench) -> Instance:
    instance = bench.make()
    answer = bench.post(instance)
    offered(answer.ok, f"the instance for this check is not taken: {answer}")
    return instance


def _result(bench: Bench, *references: Reference) -> Attributes:
    """What came of a request, at once or after a while."""
    transaction = new_uid()
    answer = bench.commitments.request(transaction, references)
    require(answer.status in (200, 202), answer)
    answer = bench.commitments.result(transaction, answer)
    require(answer.status == 200, f"no result after ten seconds: {answer}")
    return one(answer)


@SUITE.check(
    "commitment-stored",
    _REQUEST,
    sent="a request for an instance that was just stored",
    expected="200, or 202 and later 200; it is in the Referenced SOP Sequence, and there is no Failed SOP Sequence",
)
def stored(bench: Bench) -> str:
    instance = _stored(bench)
    result = _result(bench, (instance.sop_class, instance.sop))
    found = [str(value(item, "00081155")) for item in items(result, REFERENCED)]
    require(found == [instance.sop] and FAILED not in result, f"committed: {found}; failed: {items(result, FAILED)}")
    return "committed"


@SUITE.check(
    "commitment-unknown",
    _REASONS,
    sent="a request for an instance that never was",
    expected="a Failed SOP item with 0112, and no Referenced SOP Sequence",
)
def unknown(bench: Bench) -> str:
    result = _result(bench, (_CT, new_uid()))
    require(REFERENCED not in result, f"committed: {items(result, REFERENCED)}")
    return _expect_reason(result, 0x0112)


@SUITE.check(
    "commitment-wrong-class",
    _REASONS,
    sent="a request for a stored CT image, called an MR image",
    expected="a Failed SOP item with 0119",
)
def wrong_class(bench: Bench) -> str:
    return _expect_reason(_result(bench, (_MR, _stored(bench).sop)), 0x0119)


@SUITE.check(
    "commitment-mixed",
    "PS3.18 J.2",
    sent="a request for a stored instance and for one that never was",
    expected="each in its sequence",
)
def mixed(bench: Bench) -> str:
    instance, absent = _stored(bench), new_uid()
    result = _result(bench, (instance.sop_class, instance.sop), (_CT, absent))
    committed = [str(value(item, "00081155")) for item in items(result, REFERENCED)]
    failed = [str(value(item, "00081155")) for item in items(result, FAILED)]
    require((committed, failed) == ([instance.sop], [absent]), f"{len(committed)} committed, {len(failed)} failed")
    return "one committed, one failed"


@SUITE.check(
    "commitment-refused-instance",
    _REQUEST,
    sent="a request for other pixels under the UID of a stored instance, which were refused",
    expected="the stored one is committed: what was refused changed nothing",
)
def refused_instance(bench: Bench) -> str:
    first = _stored(bench)
    bench.post(bench.make(study=first.study, series=first.series, SOPInstanceUID=first.sop, PixelData=bytes(2048)))
    result = _result(bench, (first.sop_class, first.sop))
    require(len(items(result, REFERENCED)) == 1, f"failed: {items(result, FAILED)}")
    return "committed"


@SUITE.check(
    "commitment-result-check",
    "PS3.18 13.5.3",
    sent="GET /commitment-requests/{uid} of a finished request",
    expected="200 with the result; 404 or 410 where it was given in the answer and is not kept",
)
def result_check(bench: Bench) -> str:
    instance, transaction = _stored(bench), new_uid()
    first = bench.commitments.request(transaction, [(instance.sop_class, instance.sop)])
    answer = bench.commitments.result(transaction, bench.commitments.check(transaction))
    require(answer.status == 200 or (first.status == 200 and answer.status in (404, 410)), answer)
    advise(answer.status == 200, f"{answer}; a client that lost the answer cannot ask again")
    return str(answer)


@SUITE.check(
    "commitment-unknown-transaction", "PS3.18 13.5.3", sent="GET of a request that never was", expected="404",
    writes=False,
)  # fmt: skip
def unknown_transaction(bench: Bench) -> str:
    answer = bench.commitments.check(new_uid())
    require(answer.status == 404, answer)
    return str(answer)


@SUITE.check(
    "commitment-transaction-again",
    _REQUEST,
    sent="another request under a Transaction UID that is in use",
    expected="409",
)
def transaction_again(bench: Bench) -> str:
    transaction = new_uid()
    bench.commitments.request(transaction, [(_CT, new_uid())])
    answer = bench.commitments.request(transaction, [(_CT, new_uid())])
    require(answer.status == 409, answer)
    return str(answer)


_WRONG: dict[str, tuple[str, object]] = {
    "commitment-empty": ("a request for nothing", [{}]),
    "commitment-no-instance-uid": (
        "a reference without SOP Instance UID",
        [{"00081199": {"vr": "SQ", "Value": [{"00081150": {"vr": "UI", "Value": [_CT]}}]}}],
    ),
    "commitment-no-data-set": ("a text instead of a data set", "commit everything"),
}


def _expect_bad_request(payload: object, bench: Bench) -> str:
    answer: Answer = bench.commitments.send(new_uid(), payload)
    require(answer.status == 400, answer)
    return str(answer)


for _name, (_sent, _payload) in _WRONG.items():
    SUITE.check(_name, _REQUEST, sent=_sent, expected="400")(partial(_expect_bad_request, _payload))


@SUITE.check("commitment-uid-wrong", _REQUEST, sent="the Transaction UID not-a-uid", expected="400")
def uid_wrong(bench: Bench) -> str:
    answer = bench.commitments.request("not-a-uid", [(_CT, new_uid())])
    require(answer.status == 400, answer)
    return str(answer)


def _expect_reason(result: Attributes, expected: int) -> str:
    failed = items(result, FAILED)
    require(len(failed) == 1, f"{len(failed)} Failed SOP items")
    reason = reason_of(failed[0])
    require(reason in _KNOWN_REASONS, f"{reason:04X}H is no reason of C.14.1.1")
    require(reason == expected, f"{reason:04X}H")
    return f"{reason:04X}H"
