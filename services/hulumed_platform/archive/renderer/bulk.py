"""The value of one element that metadata only point to."""

from pathlib import Path
from typing import Any

from pydicom import dcmread

from hulumed_platform.archive.renderer.refused import RefusedError
from hulumed_platform.archive.renderer.values import is_big_endian, swapped


def write_bulk(path: Path, out: Path, element: str) -> dict[str, Any]:
    """Write the value in little endian.

    Args:
        element: its tag as 8 hex digits; inside sequences `sequence/index/element`, items counted from 0.
    """
    *owners, tag = element.split("/")
    dataset = dcmread(path)
    big_endian = is_big_endian(dataset)
    try:
        for sequence, index in zip(owners[::2], owners[1::2], strict=True):
            dataset = dataset[int(sequence, 16)].value[int(index)]
        found = dataset[int(tag, 16)]
    except (KeyError, IndexError, ValueError, TypeError, AttributeError):
        raise RefusedError("the instance has no such element", "not_found") from None
    if found.VR == "SQ":
        raise RefusedError("the element is a sequence", "not_found")
    if isinstance(found.value, bytes):
        out.write_bytes(swapped(found) if big_endian else found.value)
    else:
        out.write_bytes(str(found.value).encode())
    return {}
