"""`/v1/files`: what is uploaded comes back, and what is wrong about an upload is said."""

import socket

import httpx
import pytest
from openai import OpenAI

from tests.gateway.conftest import RunningGateway


def upload(gateway: RunningGateway, *fields: tuple[str, bytes], content_type: str = "") -> httpx.Response:
    """Post a form made by hand: each field its Content-Disposition and its content."""
    parts = (f"--b\r\nContent-Disposition: {head}\r\n\r\n".encode() + content + b"\r\n" for head, content in fields)
    body = b"".join(parts) + b"--b--\r\n"
    headers = {"Content-Type": content_type or "multipart/form-data; boundary=b"}
    return gateway.http.post("/v1/files", content=body, headers=headers)


FILE = ('form-data; name="file"; filename="scan.png"', b"content")
PURPOSE = ('form-data; name="purpose"', b"user_data")


@pytest.mark.parametrize("fields", [(FILE, PURPOSE), (PURPOSE, FILE)])
def test_an_upload_comes_back(gateway: RunningGateway, fields: tuple[tuple[str, bytes], ...]) -> None:
    """Whatever the order of the form."""
    answer = upload(gateway, *fields)
    assert answer.status_code == 200, answer.text
    file = answer.json()
    assert (file["filename"], file["bytes"], file["purpose"]) == ("scan.png", 7, "user_data")
    assert gateway.http.get(f"/v1/files/{file['id']}/content").content == b"content"


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ('filename="Röntgen.png"', "Röntgen.png"),
        ("filename*=UTF-8''R%C3%B6ntgen.png", "Röntgen.png"),
        ('filename="../../etc/passwd"', "../../etc/passwd"),
    ],
)
def test_a_name_is_only_a_name(gateway: RunningGateway, parameter: str, name: str) -> None:
    """It goes back to its sender, in any alphabet, and never becomes a path of ours."""
    answer = upload(gateway, (f'form-data; name="file"; {parameter}', b"x"), PURPOSE)
    assert answer.json()["filename"] == name


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ((FILE,), "lacks purpose"),
        ((PURPOSE,), "lacks file"),
        ((), "ends before|lacks|boundary"),
        ((FILE, FILE, PURPOSE), "once each"),
        ((FILE, PURPOSE, ('form-data; name="expires_after[seconds]"', b"9")), "once each"),
        (((FILE[0], b""), PURPOSE), "is empty"),
        ((FILE, (PURPOSE[0], b"\xff")), "needs a purpose"),
        (((FILE[0].replace("scan", "a\x01b"), b"x"), PURPOSE), "control characters"),
    ],
)
def test_a_form_that_is_wrong(gateway: RunningGateway, fields: tuple[tuple[str, bytes], ...], words: str) -> None:
    """Nothing of it is guessed, and nothing of it is ignored."""
    answer = upload(gateway, *fields)
    assert answer.status_code == 400, answer.text
    assert any(word in answer.json()["error"]["message"] for word in words.split("|"))


def test_a_form_of_another_type(gateway: RunningGateway) -> None:
    """JSON in place of a form."""
    assert upload(gateway, FILE, content_type="application/json").status_code == 415
    assert upload(gateway, FILE, content_type="multipart/form-data").status_code == 400


def test_an_upload_that_was_cut_off_is_none(gateway: RunningGateway) -> None:
    """Half a volume must not become a file."""
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = gateway.http.post("/v1/files", content=body, headers=headers)
    assert answer.status_code == 400
    assert "cut off" in answer.json()["error"]["message"]


def test_a_file_over_the_limit_is_refused_while_it_comes(gateway: RunningGateway) -> None:
    """Neither a claim nor a body without length fills the disk."""
    assert upload(gateway, (FILE[0], b"x" * 9_000_000), PURPOSE).status_code == 413
    assert upload(gateway, (FILE[0], b"x" * 8_000_001), PURPOSE).status_code == 413
    host, port = gateway.url.removeprefix("http://").split(":")
    head = f"POST /v1/files HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: 4294967296\r\n\r\n--b".encode())
        assert b" 413 " in connection.recv(100)


def test_files_are_listed_to_the_end(gateway: RunningGateway) -> None:
    """The official client asks for pages until there are no more."""
    ids = [upload(gateway, FILE, (PURPOSE[0], b"evals")).json()["id"] for _ in range(5)]
    client = OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0)
    assert {file.id for file in client.files.list(purpose="evals", limit=2)} == set(ids)
