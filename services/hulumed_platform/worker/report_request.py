"""What the decoder is asked of a study: its chosen instances by reference, after those of priors, then the prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

from hulumed_platform.archive.rules.schema import Axis, Rule
from hulumed_platform.rpc.v1 import decoder_pb2, media_pb2
from hulumed_platform.storage.models import Instance

_AXES = {
    Axis.AXIAL: media_pb2.AXIS_AXIAL,
    Axis.CORONAL: media_pb2.AXIS_CORONAL,
    Axis.SAGITTAL: media_pb2.AXIS_SAGITTAL,
}


@dataclass(frozen=True, slots=True)
class PriorStudy:
    """An earlier study as the model sees it. Dates are given as a distance: they would name a patient's visit."""

    study_instance_uid: str
    revision: int
    days_before: int
    instances: Sequence[Instance]


def report_request(
    tenant: str, instances: Sequence[Instance], rule: Rule, priors: Sequence[PriorStudy] = ()
) -> decoder_pb2.GenerateRequest:
    """Ask for the report of a study, decoded greedily.

    All instances of a study are one medium: ingest groups them into series and leaves out what is no picture of the
    patient. Priors, the newest first, come before the study, each under a line that says how old it is.
    """
    prompt = rule.prompt
    system = [_message("system", decoder_pb2.Part(text=prompt.system))] if prompt.system else []
    parts: list[decoder_pb2.Part] = []
    for number, prior in enumerate(priors):
        parts += [
            decoder_pb2.Part(text=f"Prior study, {prior.days_before} days before:"),
            decoder_pb2.Part(media=number),
        ]
    if priors:
        parts.append(decoder_pb2.Part(text="Current study:"))
    parts += [decoder_pb2.Part(media=len(priors)), decoder_pb2.Part(text=prompt.text)]
    media = [*(prior.instances for prior in priors), instances]
    return decoder_pb2.GenerateRequest(
        tenant=tenant,
        messages=[*system, _message("user", *parts)],
        media=[media_pb2.MediaRef(objects=_references(each), options=_options(rule)) for each in media],
        sampling=decoder_pb2.Sampling(max_new_tokens=prompt.max_new_tokens),
    )


def _options(rule: Rule) -> media_pb2.PrepareOptions | None:
    if rule.window is None and rule.axis is None and rule.num_planes is None:
        return None
    window = media_pb2.Window(center=rule.window.center, width=rule.window.width) if rule.window else None
    axis = _AXES[rule.axis] if rule.axis else media_pb2.AXIS_UNSPECIFIED
    return media_pb2.PrepareOptions(window=window, axis=axis, num_planes=rule.num_planes)


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
