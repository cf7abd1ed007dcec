from email.parser import BytesParser
from pathlib import Path

from hulumed_platform.cli.multipart import DicomParts


def test_the_body_is_a_multipart_of_the_files(tmp_path: Path) -> None:
    """Read back by another parser, the parts are the files byte for byte, and the length is the one announced."""
    contents = [b"DICM\r\n--almost\r\n", b"", bytes(range(256)) * 3000]
    files = [tmp_path / str(number) for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    sent: list[int] = []
    parts = DicomParts(files, sent.append)

    body = b"".join(parts)

    assert len(body) == int(parts.headers["Content-Length"])
    assert sum(sent) == sum(len(content) for content in contents)
    head = f"Content-Type: {parts.headers['Content-Type']}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    boundary = parts.headers["Content-Type"].rpartition("=")[2].encode()
    read = body.split(b"\r\n--" + boundary)[1:-1]
    assert [part.partition(b"\r\n\r\n")[2] for part in read] == contents
    message = BytesParser().parsebytes(head + body)
    assert [part.get_content_type() for part in message.get_payload()] == ["application/dicom"] * 3  # type: ignore[union-attr]
