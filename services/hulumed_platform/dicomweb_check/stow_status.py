"""STOW-RS, the status line: 200, 202, 409, 400, 415, 406 and when (PS3.18, table 10.5.3-1)."""

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.multipart import BOUNDARY, CONTENT_TYPE, related
from hulumed_platform.dicomweb_check.reply import expect_refused, expect_stored, read_reply
from hulumed_platform.dicomweb_check.server import DICOM_JSON, Answer
from hulumed_platform.dicomweb_check.service import Service
from hulumed_platform.dicomweb_check.suite import Suite
from hulumed_platform.dicomweb_check.synthetic import Instance, new_uid
from hulumed_platform.dicomweb_check.verdict import offered, require

SUITE = Suite(Service.STOW)
_STATUS = "PS3.18 10.5.3.1"
_GARBAGE = b"this is not a DICOM file" * 20


@SUITE.check("stow-all-stored", _STATUS, sent="two good instances", expected="200, and both can be retrieved")
def all_stored(bench: Bench) -> str:
    study = new_uid()
    instances = bench.make(study=study), bench.make(study=study)
    return expect_stored(bench, bench.post(*instances), *instances)


@SUITE.check(
    "stow-all-stored-in-study",
    _STATUS,
    sent="a good instance to the address of its study",
    expected="200, and it can be retrieved",
)
def all_stored_in_study(bench: Bench) -> str:
    instance = bench.make()
    return expect_stored(bench, bench.post(instance, study=instance.study), instance)


@SUITE.check(
    "stow-some-stored",
    _STATUS,
    sent="to the address of a study: an instance of it, and one of another study",
    expected="202; the first is stored, the second is not",
)
def some_stored(bench: Bench) -> str:
    good, other = bench.make(), bench.make()
    answer = bench.post(good, other, study=good.study)
    require(not bench.holds(other), f"{answer}; but the instance of the other study is stored")
    return _expect_partial(bench, answer, good)


@SUITE.check(
    "stow-good-then-garbage",
    _STATUS,
    sent="a good instance, then a part that is no DICOM",
    expected="202, and the good one is stored",
)
def good_then_garbage(bench: Bench) -> str:
    good = bench.make()
    return _expect_partial(bench, bench.post_parts([good.file, _GARBAGE]), good)


@SUITE.check(
    "stow-garbage-then-good",
    _STATUS,
    sent="a part that is no DICOM, then a good instance",
    expected="202, and the good one is stored",
)
def garbage_then_good(bench: Bench) -> str:
    good = bench.make()
    return _expect_partial(bench, bench.post_parts([_GARBAGE, good.file]), good)


@SUITE.check(
    "stow-none-stored",
    _STATUS,
    sent="one part that is no DICOM, in a well-formed request",
    expected="409; 400 is accepted too: whether the content of a part is syntax of the request is read both ways",
)
def none_stored(bench: Bench) -> str:
    return expect_refused(bench, bench.post_parts([_GARBAGE]), statuses=(409, 400))


@SUITE.check(
    "stow-wrong-study",
    _STATUS,
    sent="one instance, to the address of another study",
    expected="409, and it is not stored",
)
def wrong_study(bench: Bench) -> str:
    instance = bench.make()
    return expect_refused(bench, bench.post(instance, study=new_uid()), instance, statuses=(409,))


@SUITE.check(
    "stow-no-study-uid",
    _STATUS,
    sent="one instance without Study Instance UID",
    expected="409 or 400: both are in use",
)
def no_study_uid(bench: Bench) -> str:
    return expect_refused(bench, bench.post(bench.make(StudyInstanceUID=None)), statuses=(409, 400))


@SUITE.check("stow-no-sop-uid", _STATUS, sent="one instance without SOP Instance UID", expected="409 or 400")
def no_sop_uid(bench: Bench) -> str:
    return expect_refused(bench, bench.post(bench.make(SOPInstanceUID=None)), statuses=(409, 400))


@SUITE.check("stow-empty-body", _STATUS, sent="multipart/related with an empty body", expected="400")
def empty_body(bench: Bench) -> str:
    return expect_refused(bench, bench.post_body(b""), statuses=(400,))


@SUITE.check("stow-no-part", _STATUS, sent="a body that is its last boundary alone", expected="400")
def no_part(bench: Bench) -> str:
    return expect_refused(bench, bench.post_body(f"--{BOUNDARY}--\r\n".encode()), statuses=(400,))


@SUITE.check("stow-form-data", _STATUS, sent="an instance as multipart/form-data", expected="415, and nothing stored")
def form_data(bench: Bench) -> str:
    return _expect_unsupported(bench, f"multipart/form-data; boundary={BOUNDARY}")


@SUITE.check(
    "stow-unknown-media-type", _STATUS, sent="an instance in a body called text/plain", expected="415, nothing stored"
)
def unknown_media_type(bench: Bench) -> str:
    return _expect_unsupported(bench, "text/plain")


@SUITE.check(
    "stow-unknown-inner-type",
    _STATUS,
    sent='multipart/related; type="text/plain", with an instance in it',
    expected="415, and nothing stored",
)
def unknown_inner_type(bench: Bench) -> str:
    return _expect_unsupported(bench, f'multipart/related; type="text/plain"; boundary={BOUNDARY}')


@SUITE.check("stow-no-boundary", _STATUS, sent="multipart/related without boundary parameter", expected="400 or 415")
def no_boundary(bench: Bench) -> str:
    instance = bench.make()
    answer = bench.post(instance, headers={"Content-Type": 'multipart/related; type="application/dicom"'})
    return expect_refused(bench, answer, instance, statuses=(400, 415))


@SUITE.check("stow-unacceptable", "PS3.18 8.7.5", sent="an instance, with Accept: image/png", expected="406")
def unacceptable(bench: Bench) -> str:
    answer = bench.post(bench.make(), headers={"Accept": "image/png"})
    require(answer.status == 406, answer)
    return str(answer)


@SUITE.check(
    "stow-warnings-status",
    _STATUS,
    sent="an instance without an attribute its SOP Class needs (Rescale Slope)",
    expected="stored: 200 without warning, 200 or 202 with one (both readings are in use); or 409 with a reason",
)
def warnings_status(bench: Bench) -> str:
    instance = bench.make(RescaleSlope=None)
    answer = bench.post(instance)
    reply = read_reply(answer)
    if reply.stored(instance) is None:
        require(answer.status == 409 and reply.failed(instance) is not None, answer)
        return f"refused with a reason: {answer}"
    if not reply.warnings:
        require(answer.status == 200, answer)
        return f"stored without warning: {answer}"
    require(answer.status in (200, 202), answer)
    return f"stored with warnings; all stored with warnings is {answer.status} here: {answer}"


@SUITE.check(
    "stow-credentials-needed",
    "PS3.18 8.5",
    sent="an instance without the credentials of --header",
    expected="401 or 403, and nothing stored",
)
def credentials_needed(bench: Bench) -> str:
    offered(bool(bench.server.headers), "no credentials were given, so none can be left out")
    instance = bench.make()
    headers = {"Content-Type": CONTENT_TYPE, "Accept": DICOM_JSON}
    body = related([instance.file])
    answer = bench.server.request("POST", "/studies", content=body, headers=headers, credentials=False)
    return expect_refused(bench, answer, instance, statuses=(401, 403))


def _expect_partial(bench: Bench, answer: Answer, good: Instance) -> str:
    """Say what is wrong, and whether the good one was stored all the same."""
    there = bench.holds(good, patient=True)
    truth = {True: "the good one is stored", False: "the good one is not stored", None: ""}[there]
    require(answer.status == 202 and there is not False, f"{answer}; {truth}")
    return expect_stored(bench, answer, good, statuses=(202,))


def _expect_unsupported(bench: Bench, content_type: str) -> str:
    instance = bench.make()
    return expect_refused(
        bench, bench.post(instance, headers={"Content-Type": content_type}), instance, statuses=(415,)
    )
