"""STOW-RS, the body of the answer: which sequences, which reasons, which addresses (PS3.18, annex I)."""

import re

from hulumed_platform.dicomweb_check.bench import Bench
from hulumed_platform.dicomweb_check.multipart import read_parts
from hulumed_platform.dicomweb_check.reply import (
    FAILED,
    OTHER_FAILURES,
    REFERENCED,
    RETRIEVE_URL,
    expect_stored,
    read_reply,
    reason_of,
    value,
)
from hulumed_platform.dicomweb_check.server import DICOM_JSON, Answer
from hulumed_platform.dicomweb_check.service import Service
from hulumed_platform.dicomweb_check.suite import Suite
from hulumed_platform.dicomweb_check.synthetic import Instance, new_uid, read
from hulumed_platform.dicomweb_check.verdict import advise, offered, require
from hulumed_platform.dicomweb_check.workitems import Attributes

SUITE = Suite(Service.STOW)
_MODULE = "PS3.18 I.1"
_REASONS = "PS3.18 I.2.2"
_SOP_CLASS, _SOP_INSTANCE = "00081150", "00081155"
_GARBAGE = b"this is not a DICOM file" * 20
_ANY_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@SUITE.check("stow-json-default", "PS3.18 10.5.3", sent="an instance, with Accept: */*", expected=DICOM_JSON)
def json_default(bench: Bench) -> str:
    answer = bench.post(bench.make(), headers={"Accept": "*/*"})
    require(answer.ok and answer.media_type == DICOM_JSON, answer)
    return str(answer)


@SUITE.check(
    "stow-xml-or-406",
    "PS3.18 8.7.5",
    sent="an instance, with Accept: application/dicom+xml",
    expected="application/dicom+xml, or 406",
)
def xml_or_406(bench: Bench) -> str:
    answer = bench.post(bench.make(), headers={"Accept": "application/dicom+xml"})
    require(answer.status == 406 or (answer.ok and answer.media_type == "application/dicom+xml"), answer)
    return str(answer)


@SUITE.check(
    "stow-study-retrieve-url",
    _MODULE,
    sent="an instance",
    expected="Retrieve URL (0008,1190) is there; if it has a value, it is the absolute address of the study",
)
def study_retrieve_url(bench: Bench) -> str:
    instance = bench.make()
    answer = bench.post(instance)
    reply = read_reply(answer)
    require(RETRIEVE_URL in reply.attributes, f"{answer}; no Retrieve URL")
    url = str(value(reply.attributes, RETRIEVE_URL))
    require(not url or re.fullmatch(rf"https?://.+/studies/{re.escape(instance.study)}/?", url) is not None, url)
    return url or "an empty Retrieve URL"


@SUITE.check(
    "stow-study-retrieve-url-always",
    _MODULE,
    sent="two instances of two studies, then one that is refused",
    expected="Retrieve URL (0008,1190) is there both times, empty where no one study is stored: it is of type 2",
)
def study_retrieve_url_always(bench: Bench) -> str:
    for answer in (bench.post(bench.make(), bench.make()), bench.post(bench.make(), study=new_uid())):
        require(RETRIEVE_URL in read_reply(answer).attributes, f"{answer}; no Retrieve URL")
    return "it is there"


@SUITE.check(
    "stow-referenced-items",
    _MODULE,
    sent="two instances",
    expected="a Referenced SOP item each: class, instance, and Retrieve URL with the address of the instance or empty",
)
def referenced_items(bench: Bench) -> str:
    instances = bench.make(), bench.make()
    answer = bench.post(*instances)
    reply = read_reply(answer)
    require(len(reply.items(REFERENCED)) == len(instances), f"{answer}; {len(reply.items(REFERENCED))} items")
    for instance in instances:
        item = reply.stored(instance) or {}
        require(value(item, _SOP_CLASS) == instance.sop_class, f"an item without its SOP Class UID: {item}")
        require(RETRIEVE_URL in item, f"an item without Retrieve URL: {item}")
        url = str(value(item, RETRIEVE_URL))
        require(not url or url.endswith(instance.path), f"the Retrieve URL of an instance is {url}")
    return str(answer)


@SUITE.check(
    "stow-retrieve-url-resolves",
    _MODULE,
    sent="GET of the Retrieve URL of a stored instance",
    expected="the instance; an address of another host than the one asked is followed by no client outside",
)
def retrieve_url_resolves(bench: Bench) -> str:
    instance = bench.make()
    item = read_reply(bench.post(instance)).stored(instance) or {}
    url = str(value(item, RETRIEVE_URL))
    offered(bool(url) and Service.WADO not in bench.missing, "no Retrieve URL, or nothing to retrieve with")
    answer = bench.server.follow(url, accept=_ANY_DICOM)
    advise(answer is not None, f"{url}: not the host that was asked; set the public address of the server")
    assert answer is not None
    require(answer.status == 200, f"{url}: {answer}")
    return f"{url}: 200"


@SUITE.check(
    "stow-forwarded",
    "RFC 7239",
    sent="an instance, with Forwarded: proto=https;host=pacs.example",
    expected="Retrieve URLs begin with https://pacs.example; a server may do so for known proxies only",
)
def forwarded(bench: Bench) -> str:
    return _expect_public(bench, {"Forwarded": "proto=https;host=pacs.example"})


@SUITE.check(
    "stow-x-forwarded",
    "PS3.18 I.1",
    sent="an instance, with X-Forwarded-Proto: https and X-Forwarded-Host: pacs.example",
    expected="Retrieve URLs begin with https://pacs.example; a server may do so for known proxies only",
)
def x_forwarded(bench: Bench) -> str:
    return _expect_public(bench, {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "pacs.example"})


@SUITE.check(
    "stow-no-failed-sequence",
    _MODULE,
    sent="a good instance",
    expected="Failed SOP Sequence (0008,1198) is absent, not empty",
)
def no_failed_sequence(bench: Bench) -> str:
    answer = bench.post(bench.make())
    require(answer.ok and FAILED not in read_reply(answer).attributes, answer)
    return str(answer)


@SUITE.check(
    "stow-no-referenced-sequence",
    _MODULE,
    sent="an instance of another study than the address names",
    expected="Referenced SOP Sequence (0008,1199) is absent, not empty",
)
def no_referenced_sequence(bench: Bench) -> str:
    answer = bench.post(bench.make(), study=new_uid())
    require(not answer.ok and REFERENCED not in read_reply(answer).attributes, answer)
    return str(answer)


@SUITE.check(
    "stow-failed-items",
    _MODULE,
    sent="an instance of another study than the address names",
    expected="a Failed SOP item with class, instance and one Failure Reason",
)
def failed_items(bench: Bench) -> str:
    instance = bench.make()
    answer = bench.post(instance, study=new_uid())
    item = read_reply(answer).failed(instance)
    require(item is not None, f"{answer}; no Failed SOP item for it")
    assert item is not None
    require(value(item, _SOP_CLASS) == instance.sop_class, f"the item has no SOP Class UID: {item}")
    return f"{reason_of(item):04X}H"


@SUITE.check(
    "stow-wrong-study-reason",
    _REASONS,
    sent="an instance of another study than the address names",
    expected="Failure Reason A9xx; another failure code must be documented, a warning code (Bxxx) is wrong",
)
def wrong_study_reason(bench: Bench) -> str:
    instance = bench.make()
    return _expect_reason(bench.post(instance, study=new_uid()), instance, 0xA900, 0xA9FF)


@SUITE.check(
    "stow-unreadable-part-reason",
    _REASONS,
    sent="a part that is no DICOM",
    expected="Other Failures Sequence (0008,119A) with Cxxx: a Failed SOP item would need UIDs",
)
def unreadable_part_reason(bench: Bench) -> str:
    answer = bench.post_parts([_GARBAGE])
    require(not answer.ok, answer)
    advise(answer.media_type == DICOM_JSON, f"{answer}; no module says why")
    reply = read_reply(answer)
    nameless = [item for item in reply.items(FAILED) if not value(item, _SOP_INSTANCE)]
    require(not nameless, f"{answer}; a Failed SOP item without UIDs")
    advise(len(reply.items(OTHER_FAILURES)) == 1, f"{answer}; the part is not accounted for")
    return _in_range(reply.reasons[0], 0xC000, 0xCFFF)


@SUITE.check(
    "stow-unsupported-sop-class",
    _REASONS,
    sent="an instance of a private SOP Class that nobody knows",
    expected="stored, or refused with 0122",
)
def unsupported_sop_class(bench: Bench) -> str:
    instance = bench.make(SOPClassUID=new_uid())
    answer = bench.post(instance)
    if answer.ok:
        return expect_stored(bench, answer, instance, statuses=(200, 202))
    return _expect_reason(answer, instance, 0x0122, 0x0122)


@SUITE.check(
    "stow-unsupported-transfer-syntax",
    _REASONS,
    sent="an instance whose file meta names a private transfer syntax that nobody knows",
    expected="stored, or refused with C122",
)
def unsupported_transfer_syntax(bench: Bench) -> str:
    from pydicom.uid import UID  # noqa: PLC0415

    instance = bench.make(syntax=UID(new_uid()))
    answer = bench.post(instance)
    if answer.ok:
        return expect_stored(bench, answer, instance, statuses=(200, 202))
    reasons = read_reply(answer).reasons
    require(bool(reasons), f"{answer}; no Failure Reason")
    return _in_range(reasons[0], 0xC122, 0xC122)


@SUITE.check(
    "stow-coercion-declared",
    "PS3.18 10.5.3",
    sent="an instance, and a request for it as it is stored",
    expected="every changed attribute stands in Original Attributes Sequence (0400,0561), with a warning B000",
)
def coercion_declared(bench: Bench) -> str:
    instance = bench.make()
    reply = read_reply(bench.post(instance))
    answer = bench.server.get(instance.path, _ANY_DICOM)
    offered(answer.status == 200, f"it cannot be retrieved: {answer}")
    stored, sent = read(read_parts(answer)[0].content), read(instance.file)
    changed = [element.keyword for element in sent if stored.get(element.tag) != element]
    require(not changed or "OriginalAttributesSequence" in stored, f"changed without a trace: {', '.join(changed)}")
    advise(not changed or 0xB000 in reply.warnings, f"changed without a warning: {', '.join(changed)}")
    return f"changed and declared: {', '.join(changed)}" if changed else "nothing was changed"


def _expect_public(bench: Bench, headers: dict[str, str]) -> str:
    instance = bench.make()
    answer = bench.post(instance, headers=headers)
    url = str(value(read_reply(answer).stored(instance) or {}, RETRIEVE_URL))
    offered(bool(url), "no Retrieve URL")
    advise(url.startswith("https://pacs.example/"), url)
    return url


def _expect_reason(answer: Answer, instance: Instance, first: int, last: int) -> str:
    require(answer.status == 409, answer)
    item: Attributes | None = read_reply(answer).failed(instance)
    require(item is not None, f"{answer}; no Failed SOP item for it")
    assert item is not None
    return _in_range(reason_of(item), first, last)


def _in_range(reason: int, first: int, last: int) -> str:
    shown = f"{reason:04X}H"
    require(not 0xB000 <= reason <= 0xBFFF, f"{shown} is a warning code, in a Failure Reason")
    advise(first <= reason <= last, f"{shown}; its meaning must stand in the conformance statement")
    return shown
