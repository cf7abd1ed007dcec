"""Provenance and evidence as JSON: what SQL stores, HTTP shows, and a reader of years later still understands.

Field names are those of the messages; enums read as their plain words ("volume", "hulumed"), bytes as base64.
"""

import base64
import re
from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from hulumed_platform.rpc.v1 import decoder_pb2, media_pb2


def to_json(message: Message) -> dict[str, Any]:
    """Every field of a message that is set or has no presence, 64-bit numbers as numbers."""
    fields: Iterable[Any] = message.DESCRIPTOR.fields
    shown = (field for field in fields if not field.has_presence or message.HasField(field.name))
    return {field.name: _field(field, getattr(message, field.name)) for field in shown}


def provenance_to_json(provenance: decoder_pb2.Provenance) -> dict[str, Any]:
    """The provenance of an answer."""
    return to_json(provenance)


def evidence_to_json(items: Iterable[media_pb2.Item], evidence: Iterable[decoder_pb2.PlaneEvidence]) -> dict[str, Any]:
    """Which tokens of which plane the decoder saw, item by item.

    `kept_bits` holds one bit a token, row by row of the merged grid (`height / merge` rows), most significant bit
    first.
    """
    described = [_evidence_item(item) for item in items]
    for plane in evidence:
        entry = described[plane.item]["planes"][plane.plane]
        entry["kept_bits"] = base64.b64encode(plane.kept_bits).decode()
    return {"items": described}


def _evidence_item(item: media_pb2.Item) -> dict[str, Any]:
    fields = to_json(item)
    kept = fields.pop("kept")
    sources = fields.pop("planes")
    fields["tokens_per_plane"] = item.height * item.width // item.merge**2
    fields["planes"] = [{**source, "kept": count} for source, count in zip(sources, kept, strict=True)]
    return fields


def _field(field: FieldDescriptor, value: Any) -> Any:
    return [_value(field, one) for one in value] if field.is_repeated else _value(field, value)


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return to_json(value)
    if field.enum_type is not None:
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", field.enum_type.name).upper() + "_"
        return field.enum_type.values_by_number[value].name.removeprefix(prefix).lower()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
