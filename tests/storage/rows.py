"""Values that tests of the repositories start from."""

import hashlib
from datetime import UTC, datetime, timedelta

from hulumed_platform.storage.records import InstanceRecord, ReportRecord

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STUDY_UID = "1.2.826.0.1.3680043.10.543.1"


def after(seconds: float) -> datetime:
    """Return the time so long after noon."""
    return NOON + timedelta(seconds=seconds)


def digest(content: str) -> str:
    """Return the digest an object of this content would have."""
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def instance(
    number: int = 1,
    *,
    study: str = STUDY_UID,
    series: int = 1,
    content: str | None = None,
    tenant: str = "acme",
    received_at: datetime = NOON,
) -> InstanceRecord:
    """Describe one CT slice of a study; other content makes it another object under the same UID."""
    return InstanceRecord(
        tenant=tenant,
        study_instance_uid=study,
        series_instance_uid=f"{study}.{series}",
        sop_instance_uid=f"{study}.{series}.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CT",
        digest=digest(content or f"{study}.{series}.{number}"),
        size_bytes=512,
        received_at=received_at,
    )


def report(text: str = "No finding.", *, created_at: datetime = NOON, evidence: str | None = None) -> ReportRecord:
    """Describe a finished report."""
    return ReportRecord(
        text=text,
        finish_reason="stop",
        model_label="untrained",
        trained=False,
        prompt_tokens=120,
        completion_tokens=4,
        visual_tokens_before=900,
        visual_tokens_after=96,
        provenance={"preprocessing": "hulumed-1", "planes": [{"index": 0, "position_mm": -12.5}]},
        evidence_digest=evidence,
        created_at=created_at,
    )
