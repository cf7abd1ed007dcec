"""Messages to the types of `imaging` and `model`, and back. What comes from the wire is checked here."""

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.imaging.types import Axis, Item, Kind, LeftOut, PrepareOptions, Preprocessing, Window
from hulumed_platform.model.compression import KeepRule, Policy
from hulumed_platform.model.prompt import VisualItem
from hulumed_platform.rpc.v1 import media_pb2, stage_pb2

_KINDS = {
    media_pb2.MEDIA_KIND_UNSPECIFIED: None,
    media_pb2.MEDIA_KIND_IMAGE: Kind.IMAGE,
    media_pb2.MEDIA_KIND_VOLUME: Kind.VOLUME,
    media_pb2.MEDIA_KIND_VIDEO: Kind.VIDEO,
}
_WIRE_KINDS = {kind: wire for wire, kind in _KINDS.items() if kind is not None}
_AXES = {
    media_pb2.AXIS_UNSPECIFIED: None,
    media_pb2.AXIS_AXIAL: Axis.AXIAL,
    media_pb2.AXIS_CORONAL: Axis.CORONAL,
    media_pb2.AXIS_SAGITTAL: Axis.SAGITTAL,
}
_PREPROCESSING = {
    media_pb2.PREPROCESSING_UNSPECIFIED: Preprocessing.HULUMED,
    media_pb2.PREPROCESSING_HULUMED: Preprocessing.HULUMED,
    media_pb2.PREPROCESSING_UPSTREAM: Preprocessing.UPSTREAM,
}
_POLICIES = {
    stage_pb2.POLICY_UNSPECIFIED: Policy.HULUMED,
    stage_pb2.POLICY_HULUMED: Policy.HULUMED,
    stage_pb2.POLICY_UPSTREAM: Policy.UPSTREAM,
    stage_pb2.POLICY_NONE: Policy.NONE,
}
_WIRE_POLICIES = {policy: wire for wire, policy in _POLICIES.items() if wire != stage_pb2.POLICY_UNSPECIFIED}

_DEFAULT_RULE = KeepRule()
_MOST_NOVELTY = 2.0
"""From black to white, in normalised units."""


def invalid(where: str, problem: str) -> PlatformError:
    """The error for a field of a request; `problem` says what is wrong and how to mend it."""
    return PlatformError(ErrorCode.INVALID_INPUT, f"{where}: {problem}")


def kind_from_wire(kind: media_pb2.MediaKind.ValueType, where: str) -> Kind | None:
    """The kind a caller says a medium has; None = to be found out.

    Raises:
        PlatformError: INVALID_INPUT for a value of a newer version.
    """
    if kind not in _KINDS:
        raise invalid(f"{where}.kind", f"{kind} is unknown; use image, volume, video, or leave it out")
    return _KINDS[kind]


def options_from_wire(options: media_pb2.PrepareOptions, where: str) -> PrepareOptions:
    """How a medium is to be prepared. Values are checked by `imaging.prepare`, which knows the medium.

    Raises:
        PlatformError: INVALID_INPUT for enumeration values of a newer version.
    """
    if options.axis not in _AXES:
        raise invalid(f"{where}.options.axis", f"{options.axis} is unknown; use axial, coronal or sagittal")
    if options.preprocessing not in _PREPROCESSING:
        raise invalid(f"{where}.options.preprocessing", f"{options.preprocessing} is unknown; use hulumed or upstream")
    window = Window(options.window.center, options.window.width) if options.HasField("window") else None
    return PrepareOptions(
        window=window,
        axis=_AXES[options.axis],
        num_planes=options.num_planes if options.HasField("num_planes") else None,
        start_s=options.start_s if options.HasField("start_s") else None,
        end_s=options.end_s if options.HasField("end_s") else None,
        fps=options.fps if options.HasField("fps") else None,
        preprocessing=_PREPROCESSING[options.preprocessing],
    )


def keep_rule_from_wire(rule: stage_pb2.KeepRule) -> KeepRule:
    """The keep rule of a request, with defaults for what it leaves out.

    Raises:
        PlatformError: INVALID_INPUT for an unknown policy or a value out of range.
    """
    if rule.policy not in _POLICIES:
        raise invalid("keep.policy", f"{rule.policy} is unknown; use hulumed, upstream or none")
    threshold = rule.threshold if rule.HasField("threshold") else _DEFAULT_RULE.threshold
    min_tokens = rule.min_tokens if rule.HasField("min_tokens") else _DEFAULT_RULE.min_tokens
    if not 0 <= threshold <= _MOST_NOVELTY:
        raise invalid("keep.threshold", f"{threshold:g} is not a mean change of pixels; use 0 to 2, e.g. 0.1")
    if min_tokens < 1:
        raise invalid("keep.min_tokens", "0 would let planes vanish; use 1 or more")
    return KeepRule(_POLICIES[rule.policy], threshold, min_tokens)


def keep_rule_to_wire(rule: KeepRule) -> stage_pb2.KeepRule:
    """The rule with all its values set."""
    return stage_pb2.KeepRule(policy=_WIRE_POLICIES[rule.policy], threshold=rule.threshold, min_tokens=rule.min_tokens)


def item_to_wire(item: Item) -> media_pb2.Item:
    """A visual item, its kept counts still unknown."""
    return media_pb2.Item(
        media=item.media,
        kind=_WIRE_KINDS[item.kind],
        height=item.height,
        width=item.width,
        merge=item.merge,
        planes=[
            media_pb2.PlaneSource(
                digest=plane.digest,
                sop_instance_uid=plane.sop_instance_uid,
                frame=plane.frame,
                index=plane.index,
                time_s=plane.time_s,
                position_mm=plane.position_mm,
            )
            for plane in item.planes
        ],
        modality=item.modality,
        description=item.description,
        series_instance_uid=item.series_instance_uid,
        notes=[media_pb2.Note(code=note.code, text=note.text) for note in item.notes],
    )


def left_out_to_wire(left_out: LeftOut) -> media_pb2.LeftOut:
    """What of a medium did not become planes."""
    return media_pb2.LeftOut(
        media=left_out.media,
        reason=left_out.reason,
        what=left_out.what,
        count=left_out.count,
        sop_instance_uids=left_out.sop_instance_uids,
    )


def visual_item(item: media_pb2.Item) -> VisualItem:
    """An item of a stream's header as the prompt sees it."""
    kind = _KINDS[item.kind]
    assert kind is not None, "ingest finds out the kind of every item"
    times = tuple(plane.time_s for plane in item.planes) if kind is Kind.VIDEO else None
    return VisualItem(item.media, kind.value, len(item.planes), times)


def tokens_per_plane(item: media_pb2.Item) -> int:
    """Visual tokens of a plane, before compression."""
    return item.height * item.width // item.merge**2


def is_compressible(item: media_pb2.Item) -> bool:
    """Whether the keep rule applies: images are never pruned."""
    return item.kind != media_pb2.MEDIA_KIND_IMAGE
