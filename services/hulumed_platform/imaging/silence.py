"""Silences the libraries that parse files: they warn and log with values of the file, perhaps a patient's."""

import logging
import threading
import warnings

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


silence = _Silence()
"""A context; enter it around every call of a parser."""
