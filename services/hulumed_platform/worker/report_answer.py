"""What the decoder answered, as the report that is stored."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.rpc.trace_json import evidence_to_json, provenance_to_json
from hulumed_platform.rpc.v1 import decoder_pb2
from hulumed_platform.storage.records import ReportRecord


@dataclass(frozen=True, slots=True)
class ReportAnswer:
    """A whole answer: its text, why it ended, and what it stands on."""

    text: str
    finished: decoder_pb2.Finished

    @classmethod
    def of(cls, events: Iterable[decoder_pb2.GenerateResponse]) -> "ReportAnswer":
        """Listen to the end.

        Raises:
            PlatformError: What the decoder or a stage before it has to say; UNAVAILABLE where the answer has no end.
        """
        deltas: list[str] = []
        for event in events:
            if event.HasField("finished"):
                return cls("".join(deltas), event.finished)
            deltas.append(event.delta.text)
        raise PlatformError(ErrorCode.UNAVAILABLE, "The decoder broke off in the middle of the report; try again.")

    def evidence(self) -> bytes:
        """The tokens that the decoder saw of each plane, as JSON."""
        items = self.finished.provenance.items
        return json.dumps(evidence_to_json(items, self.finished.evidence)).encode()

    def record(self, evidence_digest: str, created_at: datetime) -> ReportRecord:
        """The report, ready to be stored."""
        provenance = self.finished.provenance
        return ReportRecord(
            text=self.text,
            finish_reason=self.finished.finish_reason,
            model_label=provenance.model_label,
            trained=provenance.model_trained,
            prompt_tokens=provenance.usage.prompt_tokens,
            completion_tokens=provenance.usage.completion_tokens,
            visual_tokens_before=provenance.usage.visual_tokens_before,
            visual_tokens_after=provenance.usage.visual_tokens_after,
            provenance=provenance_to_json(provenance),
            evidence_digest=evidence_digest,
            created_at=created_at,
        )
