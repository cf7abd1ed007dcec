"""From a study in storage to its report: prepare, answer, keep the evidence. Knows no states and no broker."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.rpc.clients import DecoderClient, OnLeave
from hulumed_platform.rpc.v1 import decoder_pb2
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.storage.records import ReportRecord
from hulumed_platform.storage.studies import Studies
from hulumed_platform.worker import metrics
from hulumed_platform.worker.report_answer import ReportAnswer
from hulumed_platform.worker.report_request import ReportPrompt, report_request

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reporter:
    """Writes reports with what it is given: where studies are, whom to ask, what to ask, and for how long."""

    database: Database
    objects: ObjectStore
    decoder: DecoderClient
    prompt: ReportPrompt
    plan_timeout_s: float
    report_timeout_s: float

    def report(self, study_id: str, on_leave: OnLeave) -> ReportRecord:
        """Report on the instances that the study has now; its evidence is in the object store on return.

        Args:
            study_id: which study.
            on_leave: is given what cancels the work, all four stages of it.

        Raises:
            PlatformError: What is wrong with the study, or what could not be reached; CANCELLED by `on_leave`.
        """
        request = self._request(study_id)
        with metrics.STUDY_SECONDS.labels("prepare").time():
            self._prepare(study_id, request, on_leave)
        with metrics.STUDY_SECONDS.labels("answer").time():
            answer = self._answer(request, on_leave)
        evidence = self.objects.put(request.tenant, [answer.evidence()])
        return answer.record(evidence.digest, datetime.now(UTC))

    def _request(self, study_id: str) -> decoder_pb2.GenerateRequest:
        with self.database.reading() as session:
            studies = Studies(session)
            return report_request(studies.by_id(study_id).tenant, studies.instances(study_id), self.prompt)

    def _prepare(self, study_id: str, request: decoder_pb2.GenerateRequest, on_leave: OnLeave) -> None:
        """Read every pixel once, before a GPU is asked: what is broken or does not fit shows here."""
        plan = self.decoder.plan(request, timeout_s=self.plan_timeout_s, on_leave=on_leave)
        counts = {
            "planes": sum(len(item.planes) for item in plan.items),
            "visual_tokens_before": plan.visual_tokens_before,
            "visual_tokens_after": plan.visual_tokens_after,
        }
        log.info("study planned", extra={"study": study_id, **counts})
        if plan.prompt_tokens >= plan.max_context_tokens:
            raise PlatformError(
                ErrorCode.TOO_LARGE,
                f"The study needs {plan.prompt_tokens} tokens and the model takes {plan.max_context_tokens} with the "
                "report; post fewer series, or serve a model with a longer context.",
            )

    def _answer(self, request: decoder_pb2.GenerateRequest, on_leave: OnLeave) -> ReportAnswer:
        stream = self.decoder.generate(request, timeout_s=self.report_timeout_s)
        on_leave(stream.cancel)
        return ReportAnswer.of(stream)
