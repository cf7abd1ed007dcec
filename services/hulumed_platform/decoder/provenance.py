"""What an answer stands on, gathered from all stages."""

from collections.abc import Iterable

from hulumed_platform.core.version import PLATFORM_VERSION
from hulumed_platform.decoder.answering import Answer
from hulumed_platform.decoder.question import Question, sampling_to_wire
from hulumed_platform.model.digests import Digests
from hulumed_platform.rpc import codec, convert
from hulumed_platform.rpc.v1 import decoder_pb2, media_pb2, stage_pb2


def finished(
    request: decoder_pb2.GenerateRequest,
    question: Question,
    answer: Answer,
    header: stage_pb2.StreamHeader,
    stages: Iterable[stage_pb2.StageReport],
) -> decoder_pb2.Finished:
    """The last event of an answer: why it ended, its evidence, and the provenance of its media and sampling.

    `header` has items in the caller's numbering; the kept counts of its items are filled in on the way.
    """
    items = _with_kept(header.items, answer.evidence)
    before = sum(len(item.planes) * convert.tokens_per_plane(item) for item in items)
    provenance = decoder_pb2.Provenance(
        content_key=header.content_key,
        preprocessing_version=header.preprocessing_version,
        items=items,
        left_out=header.left_out,
        keep=convert.keep_rule_to_wire(question.rule),
        platform_version=PLATFORM_VERSION,
        messages=request.messages,
        sampling=sampling_to_wire(answer.sampling),
        usage=decoder_pb2.Usage(
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            visual_tokens_before=before,
            visual_tokens_after=answer.visual_tokens,
        ),
        stages=[*stages, answer.meter.report()],
        first_token_s=answer.first_token_s,
        total_s=answer.meter.wall_s,
    )
    assert answer.finish_reason is not None, "the engine says why it ended"
    return decoder_pb2.Finished(finish_reason=answer.finish_reason, provenance=provenance, evidence=answer.evidence)


def name_model(provenance: decoder_pb2.Provenance, digests: Digests, *, label: str, trained: bool, engine: str) -> None:
    """Add which weights and which engine made the answer, in place."""
    provenance.checkpoint_digest = digests.checkpoint
    provenance.encoder_digest = digests.encoder
    provenance.projector_digest = digests.projector
    provenance.decoder_digest = digests.decoder
    provenance.model_label = label
    provenance.model_trained = trained
    provenance.engine = engine


def _with_kept(items: Iterable[media_pb2.Item], evidence: Iterable[decoder_pb2.PlaneEvidence]) -> list[media_pb2.Item]:
    counted = list(items)
    for plane in evidence:
        item = counted[plane.item]
        kept = codec.unpack_bits(plane.kept_bits, convert.tokens_per_plane(item))
        item.kept.append(int(kept.sum()))
    return counted
