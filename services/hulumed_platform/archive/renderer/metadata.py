"""Metadata of instances (PS3.18, section 10.4.1.1.2) in the DICOM JSON model: everything but bulk data."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

from hulumed_platform.archive.attributes import storable

_BULK_VRS = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")
_INLINE_BYTES = 1024
"""Longer binary values have an address instead (a BulkDataURI, relative to the instance)."""
_INLINE_CHARS = 64 * 1024
_PIXELS = {0x7FE00008: "OF", 0x7FE00009: "OD", 0x7FE00010: "OW"}
_PRESENT = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def write_metadata(paths: Sequence[str], out: Path) -> dict[str, Any]:
    """Write one line of JSON for each file; a file that cannot be parsed has `null`."""
    with out.open("wb") as lines:
        for path in paths:
            lines.write(_line(Path(path)) + b"\n")
    return {}


def _line(path: Path) -> bytes:
    try:
        content = storable(_metadata(path))
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except Exception:  # noqa: BLE001 - parsers raise anything on broken bytes; the others of the series are as good
        return b"null"


def _metadata(path: Path) -> dict[str, Any]:
    pixels: dict[str, Any] = {}

    def at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:  # noqa: ARG001 - as pydicom calls it
        if tag in _PIXELS:
            pixels[f"{tag:08X}"] = {"vr": vr or _PIXELS[tag], "BulkDataURI": f"bulkdata/{tag:08X}"}
        return bool(pixels)

    with path.open("rb") as file:
        dataset = read_partial(file, stop_when=at_pixels)
        for name in _PRESENT:  # a deflated data set is read to its end
            if name in dataset:
                tag = dataset[name].tag
                at_pixels(tag, str(dataset[name].VR), 0)
                del dataset[name]
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    ours = {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},  # JSON is UTF-8 whatever the file has
        "00083002": {"vr": "UI", "Value": [syntax]},
    }
    return dict(sorted({**_items(dataset, ""), **ours, **pixels}.items()))


def _items(dataset: Dataset, place: str) -> dict[str, Any]:
    found = {}
    for tag in sorted(dataset.keys()):
        if tag.element:  # group lengths are retired
            found[f"{tag:08X}"] = _value(dataset, tag, f"{place}{tag:08X}")
    return found


def _value(dataset: Dataset, tag: BaseTag, place: str) -> dict[str, Any]:
    """An element; one whose value is malformed keeps its place without it."""
    try:
        element = dataset[tag]
        if element.VR == "SQ":
            items = [_items(item, f"{place}/{index}/") for index, item in enumerate(element.value)]
            return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        if _is_bulk(element):
            return {"vr": str(element.VR), "BulkDataURI": f"bulkdata/{place}"}
        content: dict[str, Any] = element.to_json_dict(None, _INLINE_BYTES)
    except Exception:  # noqa: BLE001 - see `_line`
        return {"vr": str(getattr(dataset.get_item(tag), "VR", None) or "UN")}
    return content


def _is_bulk(element: DataElement) -> bool:
    value = element.value
    if element.VR in _BULK_VRS:
        return isinstance(value, bytes) and len(value) > _INLINE_BYTES
    return isinstance(value, str) and len(value) > _INLINE_CHARS
