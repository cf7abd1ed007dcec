"""STOW-RS, on the wire and against hostile input: announced bodies, broken connections, time, wrong UIDs."""

import time

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.multipart import CONTENT_TYPE, read_parts, related
from hulumed_platform.dicomweb_check.reply import expect_stored, read_reply, value
from hulumed_platform.dicomweb_check.server import DICOM_JSON, Answer
from hulumed_platform.dicomweb_check.service import Service
from hulumed_platform.dicomweb_check.suite import Suite
from hulumed_platform.dicomweb_check.synthetic import Instance, new_uid
from hulumed_platform.dicomweb_check.verdict import advise, offered, require
from hulumed_platform.dicomweb_check.wire import post_announced, post_cut

SUITE = Suite(Service.STOW)
_HEADERS = {"Content-Type": CONTENT_TYPE, "Accept": DICOM_JSON}
_UID = "PS3.5 9.1"
_PATIENCE_OF_CLIENTS_S = 15.0
"""Some viewers allow this for the whole exchange."""
_ANY_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@SUITE.check(
    "stow-expect-continue",
    "RFC 9110 10.1.1",
    sent="Expect: 100-continue, and the body once it is asked for",
    expected="100, then 200 and stored; a server that is silent first makes every client wait",
)
def expect_continue(bench: Bench) -> str:
    instance = bench.make()
    asked, answer = post_announced(bench.server, "/studies", related([instance.file]), _HEADERS)
    told = expect_stored(bench, answer, instance)
    advise(asked, f"no 100 (Continue) within three seconds, then {told}")
    return f"100, then {told}"


@SUITE.check(
    "stow-client-leaves",
    "PS3.18 10.5.2",
    sent="half of an instance, then the connection is closed",
    expected="nothing of it is stored",
)
def client_leaves(bench: Bench) -> str:
    instance = bench.make()
    body = related([instance.file])
    post_cut(bench.server, "/studies", body[: len(body) // 2], _HEADERS, len(body))
    time.sleep(1.0)
    there = bench.holds(instance)
    offered(there is not None, "nothing to look with")
    require(not there, "half an instance is stored")
    return "it is not stored"


@SUITE.check(
    "stow-answer-in-time",
    "PS3.18 10.5.2",
    sent="an instance of 4 MB",
    expected="the answer within 15 s, as some viewers allow; it does not wait for what is done with the data",
)
def answer_in_time(bench: Bench) -> str:
    instance = bench.make(Rows=1024, Columns=2048, PixelData=bytes(1024 * 2048 * 2))
    started = time.monotonic()
    answer = bench.post(instance)
    took_s = time.monotonic() - started
    expect_stored(bench, answer, instance)
    require(took_s < _PATIENCE_OF_CLIENTS_S, f"{answer.status} after {took_s:.1f} s")
    return f"{answer.status} after {took_s:.1f} s"


@SUITE.check("stow-uid-too-long", _UID, sent="a SOP Instance UID of 80 characters", expected="409 or 400")
def uid_too_long(bench: Bench) -> str:
    return _expect_uid_refused(bench.post(bench.make(SOPInstanceUID="2.25." + "9" * 75)))


@SUITE.check("stow-uid-path", _UID, sent="the SOP Instance UID ../../dicomweb-check", expected="409 or 400")
def uid_path(bench: Bench) -> str:
    return _expect_uid_refused(bench.post(bench.make(SOPInstanceUID="../../dicomweb-check")))


@SUITE.check("stow-study-uid-path", _UID, sent="the Study Instance UID ../../dicomweb-check", expected="409 or 400")
def study_uid_path(bench: Bench) -> str:
    return _expect_uid_refused(bench.post(bench.make(StudyInstanceUID="../../dicomweb-check")))


@SUITE.check(
    "stow-address-uid-path",
    _UID,
    sent="POST to /studies/not-a-uid",
    expected="400, or 409: the address is wrong, or no instance is of it",
)
def address_uid_path(bench: Bench) -> str:
    answer = bench.post(bench.make(), study="not-a-uid")
    require(answer.status in (400, 404, 409), answer)
    return str(answer)


@SUITE.check(
    "stow-uid-padding-nul",
    "PS3.5 9.4",
    sent="a SOP Instance UID of odd length, padded with NUL as it must be",
    expected="200; the UID in the answer has no padding",
)
def uid_padding_nul(bench: Bench) -> str:
    instance = bench.make(SOPInstanceUID=_odd_uid())
    return expect_stored(bench, bench.post(instance), instance)


@SUITE.check(
    "stow-uid-padding-space",
    "PS3.5 9.4",
    sent="a SOP Instance UID padded with a space, as some devices do",
    expected="stored under the UID without it, or 409 or 400",
)
def uid_padding_space(bench: Bench) -> str:
    plain = bench.make(SOPInstanceUID=_odd_uid())
    uid = plain.sop.encode()
    padded = Instance(
        plain.study, plain.series, plain.sop, plain.sop_class, plain.file.replace(uid + b"\0", uid + b" ")
    )
    answer = bench.post(padded)
    if answer.status in (400, 409):
        return str(answer)
    return expect_stored(bench, answer, plain, statuses=(200, 202))


@SUITE.check(
    "stow-preamble-nulled",
    "PS3.10 7.5",
    sent="an instance with a program header in its first 128 bytes",
    expected="it comes back with zeros there; who keeps files byte for byte must not let them be run",
)
def preamble_nulled(bench: Bench) -> str:
    instance = bench.make(preamble=b"MZ".ljust(128, b"\1"))
    answer = bench.post(instance)
    if not answer.ok:
        return f"refused: {answer}"
    offered(Service.WADO not in bench.missing, "nothing to retrieve with")
    stored = read_parts(bench.server.get(instance.path, _ANY_DICOM))[0].content
    advise(not stored.startswith(b"MZ"), "the preamble comes back as it was sent")
    return "the preamble does not come back"


def _odd_uid() -> str:
    return next(uid for uid in iter(new_uid, "") if len(uid) % 2)


def _expect_uid_refused(answer: Answer) -> str:
    require(answer.status in (400, 409), answer)
    items = read_reply(answer).items("00081199") if answer.media_type == DICOM_JSON else []
    require(not items, f"{answer}; stored: {[value(item, '00081155') for item in items]}")
    return str(answer)
