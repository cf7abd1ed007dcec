"""The border to the libraries that parse hostile bytes: silent, and with one kind of error.

Decoders raise nearly any exception on broken input, and warn and log with values of the file in the text. Those values
may be patient data, so nothing of theirs leaves this module but the type of the exception.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from hulumed_platform.imaging.errors import ImagingError
from hulumed_platform.imaging.silence import silence


@contextmanager
def parsing(label: str, what: str, mend: str = "Check that the file is complete and export it again") -> Iterator[None]:
    """Turn whatever a parser raises into an `ImagingError` about `label` ("file 3 of 12") being no good `what`.

    Not to be held open across a `yield` of ours: the consumer's errors and warnings are not the parser's.
    """
    try:
        with silence:
            yield
    except ImagingError:
        raise
    except Image.DecompressionBombError:
        raise ImagingError(f"{label}: the {what} is larger than any limit allows", kind="too_large") from None
    except Exception as error:  # noqa: BLE001 - see the head of this module
        raise ImagingError(f"{label}: the {what} cannot be read ({type(error).__name__}). {mend}.") from None
