"""The border to the libraries that parse hostile bytes: silent, and with one kind of error.

Decoders raise nearly any exception on broken input, and warn and log with values of the file in the text. Those values
may be patient data, so nothing of theirs leaves this module but the type of the exception.
"""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from hulumed_platform.imaging.errors import ImagingError

for _name in ("pydicom", "nibabel.global", "PIL", "libav", "pylibjpeg"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class _Silence:
    """Warnings ignored while any thread is inside; `warnings.catch_warnings` alone is not safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._catcher = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._catcher = warnings.catch_warnings()
                self._catcher.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._catcher.__exit__(None, None, None)


_silence = _Silence()


@contextmanager
def parsing(label: str, what: str, mend: str = "Check that the file is complete and export it again") -> Iterator[None]:
    """Turn whatever a parser raises into an `ImagingError` about `label` ("file 3 of 12") being no good `what`.

    Not to be held open across a `yield` of ours: the consumer's errors and warnings are not the parser's.
    """
    try:
        with _silence:
            yield
    except ImagingError:
        raise
    except Image.DecompressionBombError:
        raise ImagingError(f"{label}: the {what} is larger than any limit allows", kind="too_large") from None
    except Exception as error:  # noqa: BLE001 - see the head of this module
        raise ImagingError(f"{label}: the {what} cannot be read ({type(error).__name__}). {mend}.") from None
