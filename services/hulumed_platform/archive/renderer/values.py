"""Values of elements that are no text and no numbers, in the byte order that goes over the web: little endian."""

from typing import Any, cast

import numpy as np
from pydicom import Dataset
from pydicom.dataelem import DataElement

_WORD_BYTES = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


def to_little_endian(dataset: Dataset) -> None:
    """Turn the words of a data set that was read as big endian; pydicom turns everything else by itself."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                to_little_endian(item)
        elif element.VR in _WORD_BYTES and element.value:
            element._value = swapped(element)  # the setter would look at every value


def swapped(element: DataElement) -> bytes:
    """The bytes of an element in the other byte order."""
    value = cast("bytes", element.value)
    size = _WORD_BYTES.get(element.VR, 1)
    whole = len(value) - len(value) % size
    return np.frombuffer(value[:whole], np.dtype(f"u{size}")).byteswap().tobytes() + value[whole:]


def is_big_endian(dataset: Dataset) -> bool:
    """Whether the file had its values in big endian."""
    encoding: tuple[Any, Any] = dataset.original_encoding
    return encoding[1] is False
