"""multipart/related bodies (RFC 2387) as DICOMweb wants them, streamed from files.

PS3.18 10.5.1: the parts of a STOW-RS request are DICOM files, `type="application/dicom"`.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_CHUNK_BYTES = 256 * 1024


class DicomParts:
    """The body of one STOW-RS request over some files; it may be sent once more after a failure.

    Args:
        files: DICOM files, in the order of the parts.
        on_sent: called with the number of file bytes handed to the connection.
    """

    def __init__(self, files: Sequence[Path], on_sent: Callable[[int], None] = lambda _: None) -> None:
        self._files = files
        self._on_sent = on_sent
        self._boundary = secrets.token_hex(16)
        self._head = f"\r\n--{self._boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._end = f"\r\n--{self._boundary}--\r\n".encode()

    @property
    def headers(self) -> dict[str, str]:
        """Content-Type and Content-Length of the request."""
        length = sum(len(self._head) + path.stat().st_size for path in self._files) + len(self._end)
        return {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={self._boundary}',
            "Content-Length": str(length),
        }

    def __iter__(self) -> Iterator[bytes]:
        for path in self._files:
            yield self._head
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
                    self._on_sent(len(chunk))
        yield self._end
