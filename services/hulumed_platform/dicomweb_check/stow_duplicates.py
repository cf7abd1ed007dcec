"""STOW-RS, what comes twice: the same must be harmless, something else under the same UID must be said."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.multipart import read_parts
from hulumed_platform.dicomweb_check.reply import expect_stored, read_reply
from hulumed_platform.dicomweb_check.server import Answer
from hulumed_platform.dicomweb_check.service import Service
from hulumed_platform.dicomweb_check.suite import Suite
from hulumed_platform.dicomweb_check.synthetic import Instance, gradient, new_uid, read, without_meta
from hulumed_platform.dicomweb_check.verdict import offered, require

SUITE = Suite(Service.STOW)
_SECTION = "PS3.18 10.5.2"
_RACERS = 6
_ANY_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@SUITE.check(
    "stow-identical-again",
    _SECTION,
    sent="an instance, and the same bytes again",
    expected="200 twice, or 202 with a warning: to send again is how a client mends a broken connection",
)
def identical_again(bench: Bench) -> str:
    instance = bench.make()
    expect_stored(bench, bench.post(instance), instance)
    return _expect_harmless(bench, bench.post(instance), instance)


@SUITE.check(
    "stow-identical-in-one-request",
    _SECTION,
    sent="the same instance twice in one request",
    expected="200, or 202 with a warning; it is stored",
)
def identical_in_one_request(bench: Bench) -> str:
    instance = bench.make()
    return _expect_harmless(bench, bench.post(instance, instance), instance)


@SUITE.check(
    "stow-identical-other-meta",
    _SECTION,
    sent="an instance, and the same data set again under a file meta that a gateway in between changed",
    expected="200, or 202 with a warning: the object is the same",
)
def identical_other_meta(bench: Bench) -> str:
    instance = bench.make()
    expect_stored(bench, bench.post(instance), instance)
    again = Instance(instance.study, instance.series, instance.sop, instance.sop_class, _with_source(instance.file))
    return _expect_harmless(bench, bench.post(again), instance)


@SUITE.check(
    "stow-kept-after-identical",
    _SECTION,
    sent="an instance twice and three times, then a request for it",
    expected="it is there, as it was sent",
)
def kept_after_identical(bench: Bench) -> str:
    instance = bench.make()
    bench.post(instance)
    bench.post(instance)
    _expect_content(bench, instance)
    bench.post(instance)
    return _expect_content(bench, instance)


@SUITE.check(
    "stow-conflict",
    _SECTION,
    sent="an instance, then other pixels under the same SOP Instance UID",
    expected="refused with a reason, or stored with a warning; never 200 as if nothing were",
)
def conflict(bench: Bench) -> str:
    first = bench.make()
    expect_stored(bench, bench.post(first), first)
    second = _other_content(bench, first)
    return _expect_said(bench.post(second), second)


@SUITE.check(
    "stow-conflict-in-one-request",
    _SECTION,
    sent="two instances with the same SOP Instance UID and other pixels in one request",
    expected="one refused with a reason, or stored with a warning; never 200 as if nothing were",
)
def conflict_in_one_request(bench: Bench) -> str:
    first = bench.make()
    second = _other_content(bench, first)
    return _expect_said(bench.post(first, second), second)


@SUITE.check(
    "stow-kept-after-conflict",
    _SECTION,
    sent="an instance, other pixels under its UID, then a request for it",
    expected="what was refused changed nothing; what was accepted is there",
)
def kept_after_conflict(bench: Bench) -> str:
    first = bench.make()
    bench.post(first)
    second = _other_content(bench, first)
    answer = bench.post(second)
    return _expect_content(bench, second if answer.ok else first)


@SUITE.check(
    "stow-race-identical",
    _SECTION,
    sent=f"the same instance {_RACERS} times at once",
    expected="every request succeeds, and it is stored",
)
def race_identical(bench: Bench) -> str:
    instance = bench.make()
    answers = _at_once([lambda: bench.post(instance)] * _RACERS)
    return [_expect_harmless(bench, answer, instance) for answer in answers][-1]


@SUITE.check(
    "stow-race-new-patient",
    _SECTION,
    sent=f"{_RACERS} instances of a new patient, each in a request of its own, at once",
    expected="all are stored",
)
def race_new_patient(bench: Bench) -> str:
    patient, study = f"{bench.patient_id}-R", new_uid()
    instances = [bench.make(patient_id=patient, study=study) for _ in range(_RACERS)]
    answers = _at_once([lambda instance=instance: bench.post(instance) for instance in instances])  # type: ignore[misc]
    return [expect_stored(bench, answer, instance) for answer, instance in zip(answers, instances, strict=True)][-1]


def _other_content(bench: Bench, instance: Instance) -> Instance:
    return bench.make(
        study=instance.study, series=instance.series, SOPInstanceUID=instance.sop, PixelData=gradient()[::-1]
    )


def _with_source(file: bytes) -> bytes:
    """The file with a Source Application Entity Title (0002,0016) at the end of its file meta."""
    data = without_meta(file)
    meta = file[144 : len(file) - len(data)] + b"\x02\x00\x16\x00AE\x08\x00MIDDLEBX"
    return file[:140] + len(meta).to_bytes(4, "little") + meta + data


def _expect_harmless(bench: Bench, answer: Answer, instance: Instance) -> str:
    expect_stored(bench, answer, instance, statuses=(200, 202))
    require(answer.status == 200 or bool(read_reply(answer).warnings), f"{answer}; 202 without Warning Reason")
    return str(answer)


def _expect_said(answer: Answer, second: Instance) -> str:
    require(answer.status in (200, 202, 409), answer)
    reply = read_reply(answer)
    said = reply.failed(second) is not None or bool(reply.warnings)
    require(said, f"{answer}; nothing says that other content came under a known UID")
    return str(answer)


def _expect_content(bench: Bench, instance: Instance) -> str:
    offered(Service.WADO not in bench.missing, "nothing to retrieve with")
    answer = bench.server.get(instance.path, _ANY_DICOM)
    require(answer.status == 200, f"it is gone: {answer}")
    stored = read(read_parts(answer)[0].content)
    require(stored.get("PixelData") == read(instance.file).PixelData, "it is there with other pixels")
    return "it is there with its pixels"


def _at_once(requests: list[Callable[[], Answer]]) -> list[Answer]:
    with ThreadPoolExecutor(len(requests)) as pool:
        return [future.result() for future in [pool.submit(request) for request in requests]]
