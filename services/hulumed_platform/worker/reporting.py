"""From a study in storage to its report: prepare, answer, keep the evidence. Knows no states and no broker."""

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hulumed_platform.archive.rules.chosen import ChosenRule
from hulumed_platform.archive.rules.schema import Rule
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.rpc.clients import DecoderClient, OnLeave
from hulumed_platform.rpc.v1 import decoder_pb2
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import Instance, Study
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.storage.records import ReportRecord
from hulumed_platform.storage.studies import Studies
from hulumed_platform.worker import metrics
from hulumed_platform.worker.choosing import chosen_instances
from hulumed_platform.worker.priors import PriorFinder
from hulumed_platform.worker.report_answer import ReportAnswer
from hulumed_platform.worker.report_request import report_request

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reporter:
    """Writes reports with what it is given: where studies are, whom to ask, for how long, and a rule.

    `fallback` is the rule of a study that was complete before studies had rules.
    """

    database: Database
    objects: ObjectStore
    decoder: DecoderClient
    fallback: ChosenRule
    priors: PriorFinder
    plan_timeout_s: float
    report_timeout_s: float

    def report(self, study_id: str, on_leave: OnLeave) -> ReportRecord:
        """Report on the series that the study's rule chooses; its evidence is in the object store on return.

        Args:
            study_id: which study.
            on_leave: is given what cancels the work, all four stages of it.

        Raises:
            PlatformError: What is wrong with the study, or what could not be reached; CANCELLED by `on_leave`.
        """
        study, chosen = self._study(study_id)
        instances = self._instances(study, chosen.rule)
        with metrics.STUDY_SECONDS.labels("priors").time():
            priors = self.priors.of(study, instances, chosen.rule, on_leave)
        request = report_request(study.tenant, instances, chosen.rule, priors.studies)
        with metrics.STUDY_SECONDS.labels("prepare").time():
            self._prepare(study_id, request, on_leave)
        with metrics.STUDY_SECONDS.labels("answer").time():
            answer = self._answer(request, on_leave)
        evidence = self.objects.put(request.tenant, [answer.evidence()])
        record = answer.record(evidence.digest, datetime.now(UTC))
        rule = {"name": chosen.rule.name, "digest": chosen.digest}
        return replace(record, provenance={**record.provenance, "rule": rule, **priors.provenance()})

    def _study(self, study_id: str) -> tuple[Study, ChosenRule]:
        with self.database.reading() as session:
            study = Studies(session).by_id(study_id)
        return study, self.fallback if study.rule is None else ChosenRule.from_json(study.rule)

    def _instances(self, study: Study, rule: Rule) -> list[Instance]:
        with self.database.reading() as session:
            instances = chosen_instances(session, study, rule)
        if not instances:
            raise PlatformError(
                ErrorCode.INVALID_INPUT, f"Rule {rule.name} chooses no series by its expression: {rule.series}"
            )
        return instances

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
