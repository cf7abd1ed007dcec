"""What the repositories take and give besides rows: plain values that outlive a session."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.objects import check_tenant

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_MAX_UID = 64
_CODE_STRING = re.compile(r"[A-Z0-9 _]{1,16}")


class Registered(StrEnum):
    """What became of an instance: stored as NEW, an IDENTICAL one was there, or one of other content (CONFLICT)."""

    NEW = "new"
    IDENTICAL = "identical"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class DicomAttributes:
    """Attributes of an instance by level, each in the DICOM JSON model (PS3.18, annex F): {"00080060": {"vr": …}}."""

    study: dict[str, Any] = field(default_factory=dict, repr=False)
    series: dict[str, Any] = field(default_factory=dict, repr=False)
    instance: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """An instance whose bytes are already in the object store, as its sender's header describes it.

    Raises:
        PlatformError: INVALID_INPUT for a UID that is not 1 to 64 digits with dots in between (DICOM PS3.5,
            section 9.1; leading zeros are forgiven, as devices send them) or a modality that is no code string.
    """

    tenant: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str | None
    digest: str
    size_bytes: int
    received_at: datetime
    attributes: DicomAttributes = field(default_factory=DicomAttributes, repr=False)

    def __post_init__(self) -> None:
        check_tenant(self.tenant)
        for name in ("study_instance", "series_instance", "sop_instance", "sop_class", "transfer_syntax"):
            check_uid(getattr(self, f"{name}_uid"), name.replace("_", " ").replace("sop", "SOP") + " UID")
        if self.modality is not None and not _CODE_STRING.fullmatch(self.modality):
            raise PlatformError(ErrorCode.INVALID_INPUT, "The modality is no code string (DICOM PS3.5, table 6.2-1).")


def check_uid(uid: str, name: str) -> None:
    """Raise INVALID_INPUT, saying `name`, unless `uid` is numbers with dots in between, 64 characters at most."""
    if len(uid) > _MAX_UID or not _UID.fullmatch(uid):
        raise PlatformError(ErrorCode.INVALID_INPUT, f"Malformed {name}; it needs 1 to 64 digits with dots in between.")


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one revision of a study, until its lease ends or someone else holds it.

    (revision, attempt) is never given out twice, so an old holder cannot be mistaken for the new one, even when
    both have the same name. `attempt` counts from 1; the worker decides when it is one too many.
    """

    study_id: str
    revision: int
    attempt: int
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRecord:
    """A finished report, before it has a row. Counts are tokens; `evidence_digest` names an object of the tenant."""

    text: str
    finish_reason: str
    model_label: str
    trained: bool
    prompt_tokens: int
    completion_tokens: int
    visual_tokens_before: int
    visual_tokens_after: int
    provenance: dict[str, Any] = field(repr=False)
    evidence_digest: str | None
    created_at: datetime
