"""What the decoder is asked of a study: all its instances by reference, then the report prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

from hulumed_platform.rpc.v1 import decoder_pb2, media_pb2
from hulumed_platform.storage.models import Instance


@dataclass(frozen=True, slots=True)
class ReportPrompt:
    """The question put to every study; an empty `system` is left out."""

    system: str
    user: str
    max_new_tokens: int


def report_request(tenant: str, instances: Sequence[Instance], prompt: ReportPrompt) -> decoder_pb2.GenerateRequest:
    """Ask for the report of a study, decoded greedily.

    All instances are one medium: ingest groups them into series and leaves out what is no picture of the patient.
    """
    system = [_message("system", decoder_pb2.Part(text=prompt.system))] if prompt.system else []
    user = _message("user", decoder_pb2.Part(media=0), decoder_pb2.Part(text=prompt.user))
    return decoder_pb2.GenerateRequest(
        tenant=tenant,
        messages=[*system, user],
        media=[media_pb2.MediaRef(objects=_references(instances))],
        sampling=decoder_pb2.Sampling(max_new_tokens=prompt.max_new_tokens),
    )


def _message(role: str, *parts: decoder_pb2.Part) -> decoder_pb2.Message:
    return decoder_pb2.Message(role=role, parts=parts)


def _references(instances: Sequence[Instance]) -> list[media_pb2.ObjectRef]:
    return [
        media_pb2.ObjectRef(
            digest=instance.digest,
            size_bytes=instance.size_bytes,
            label=f"instance {number} of {len(instances)}",
        )
        for number, instance in enumerate(instances, start=1)
    ]
