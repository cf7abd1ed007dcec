"""Which instances of a study are images to look at, and why the others are not."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from hulumed_platform.imaging.dicom.header import Header
from hulumed_platform.imaging.types import LeftOut

STORAGE = "1.2.840.10008.5.1.4.1.1."
SECONDARY_CAPTURE = STORAGE + "7"
NOT_IMAGES = {
    "88.59": "key object selection",
    "88.67": "dose report",
    "88.": "structured report",
    "11.": "presentation state",
    "66.": "segmentation or registration",
    "66": "raw data",
    "9.": "waveform",
    "104.": "encapsulated document",
    "481.1": "",
    "481.": "radiotherapy object",
    "30": "parametric map",
    "77.1.6": "whole slide image",
}
"""Storage SOP classes (PS3.4 table B.5-1) by what follows `STORAGE`; the first that fits counts, "" = an image."""
LOCALIZERS = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVEY"}
SCREENS = {"SCREEN SAVE", "SCREENSAVE", "DOSE", "DOSE_INFO", "DOSE INFO", "PATIENT PROTOCOL", "PROTOCOL"}


def split_images(headers: Sequence[Header], media: int) -> tuple[list[Header], list[LeftOut]]:
    """Separate the images of a study from what is left out.

    Secondary captures (PS3.3 A.8) count as images only where the study has nothing else: beside real images they are
    screen saves and dose pages.
    """
    reasons = [_reason(header) for header in headers]
    primary = any(not reason and not _is_secondary(header) for header, reason in zip(headers, reasons, strict=True))
    images: list[Header] = []
    dropped: dict[str, list[Header]] = defaultdict(list)
    seen: set[str] = set()
    for header, found in zip(headers, reasons, strict=True):
        reason = found
        if not reason and primary and _is_secondary(header):
            reason = "secondary capture beside the images themselves"
        if header.sop_instance_uid and header.sop_instance_uid in seen:
            reason = "sent twice"
        seen.add(header.sop_instance_uid)
        if reason:
            dropped[reason].append(header)
        else:
            images.append(header)
    return images, [leave_out(media, reason, group) for reason, group in dropped.items()]


def leave_out(media: int, reason: str, headers: Iterable[Header]) -> LeftOut:
    """Say what is not shown and why."""
    group = list(headers)
    modalities = "/".join(sorted({header.modality for header in group if header.modality in MODALITIES})) or "DICOM"
    uids = tuple(header.sop_instance_uid for header in group)
    return LeftOut(media, reason, f"{modalities} instances", len(group), uids)


MODALITIES = frozenset(
    [
        "AU",
        "BI",
        "BMD",
        "CR",
        "CT",
        "DG",
        "DOC",
        "DX",
        "ECG",
        "EM",
        "EPS",
        "ES",
        "FID",
        "GM",
        "HC",
        "HD",
        "IO",
        "IVOCT",
        "IVUS",
        "KER",
        "KO",
        "LS",
        "MG",
        "MR",
        "NM",
        "OAM",
        "OCT",
        "OP",
        "OPM",
        "OPT",
        "OPV",
        "OSS",
        "OT",
        "PLAN",
        "PR",
        "PT",
        "PX",
        "REG",
        "RESP",
        "RF",
        "RG",
        "RTDOSE",
        "RTIMAGE",
        "RTPLAN",
        "RTRECORD",
        "RTSTRUCT",
        "SEG",
        "SM",
        "SR",
        "TG",
        "US",
        "VA",
        "XA",
        "XC",
    ]
)
"""Defined terms of Modality (PS3.3 C.7.3.1.1.1): anything else is free text and is not repeated to users."""


def _reason(header: Header) -> str:
    uid = header.sop_class_uid
    if uid.startswith(STORAGE):
        tail = uid.removeprefix(STORAGE)
        for prefix, reason in NOT_IMAGES.items():
            if tail == prefix or (prefix.endswith((".", "1")) and tail.startswith(prefix)):
                if reason:
                    return reason
                break
    if header.rows < 1 or header.columns < 1:
        return "instance without pixels"
    words = set(header.image_type)
    if words & LOCALIZERS:
        return "localizer"
    return "dose screen or screen save" if words & SCREENS else ""


def _is_secondary(header: Header) -> bool:
    # Not by the bare prefix: photographs of endoscopes and microscopes are 1.2.840.10008.5.1.4.1.1.77.1.x.
    return f"{header.sop_class_uid}.".startswith(SECONDARY_CAPTURE + ".")
