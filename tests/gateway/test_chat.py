"""The chat door, by the official OpenAI client and through the real chain, and what may be wrong about a request."""

import base64
import io
import json
import time
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai import OpenAI
from PIL import Image
from prometheus_client import REGISTRY

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway.dependencies import Memory
from tests.gateway.conftest import RunningGateway
from tests.gateway.dicom import CONTENT_TYPE, instance, multipart

QUESTION = {"type": "text", "text": "What is shown?"}


@pytest.fixture
def client(gateway: RunningGateway) -> OpenAI:
    return OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0)


def png(size: int = 56) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (size, size), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def gif(frames: int = 6) -> bytes:
    pictures = [Image.new("L", (64, 64), 40 * index) for index in range(frames)]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=500)
    return buffer.getvalue()


def data_uri(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def ask(gateway: RunningGateway, *content: dict[str, Any], **fields: Any) -> httpx.Response:
    body = {"model": "hulu-med", "messages": [{"role": "user", "content": [*content, QUESTION]}], **fields}
    return gateway.http.post("/v1/chat/completions", json=body)


def image(data: bytes | None = None) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_uri(png() if data is None else data)}}


def test_openai_client_gets_an_answer_about_an_image(client: OpenAI) -> None:
    """The field's client works unchanged; an untrained model shows as such in the model's name."""
    answer = client.chat.completions.create(
        model="hulu-med",
        messages=[{"role": "user", "content": [image(), QUESTION]}],  # type: ignore[list-item, misc]
        max_tokens=5,
    )
    assert answer.model == "hulu-med (untrained)"
    assert answer.usage is not None
    assert 1 <= answer.usage.completion_tokens <= 5
    assert answer.choices[0].finish_reason in ("stop", "length")
    provenance = answer.to_dict()["hulumed"]["provenance"]  # type: ignore[index]
    assert provenance["model_trained"] is False
    assert [stage["stage"] for stage in provenance["stages"]] == ["ingest", "encoder", "compressor", "decoder"]
    assert answer.system_fingerprint == provenance["checkpoint_digest"]


def test_stream_says_the_same_as_the_whole_answer(client: OpenAI) -> None:
    """Streaming is a matter of delivery, not of content."""
    fields: dict[str, Any] = {
        "model": "hulu-med",
        "messages": [{"role": "user", "content": [image(), QUESTION]}],
        "max_tokens": 8,
        "temperature": 0.7,
        "seed": 3,
    }
    whole = client.chat.completions.create(**fields)
    chunks = list(client.chat.completions.create(**fields, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-2].to_dict()["hulumed"]["provenance"]["sampling"]["seed"] == 3


def test_text_alone_is_answered(client: OpenAI) -> None:
    """A question without media never troubles the encoder."""
    answer = client.chat.completions.create(
        model="hulu-med",
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a pneumothorax?"}],
        max_tokens=4,
    )
    assert answer.to_dict()["hulumed"]["provenance"]["items"] == []  # type: ignore[index]


def test_uploaded_file_is_asked_about_and_deleted(client: OpenAI, gateway: RunningGateway) -> None:
    """What does not fit a data URI goes through `/v1/files` of the official client."""
    file = client.files.create(file=("scan.gif", gif()), purpose="user_data")
    assert client.files.retrieve(file.id).bytes == len(gif())
    assert client.files.content(file.id).read() == gif()
    assert file.id in [one.id for one in client.files.list()]
    answer = ask(gateway, {"type": "video", "video": {"file_id": file.id, "fps": 2}}, max_tokens=3)
    assert answer.status_code == 200, answer.text
    (item,) = answer.json()["hulumed"]["provenance"]["items"]
    assert (item["kind"], item["merge"]) == ("video", 2)
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_stored_study_is_asked_about_with_a_window(gateway: RunningGateway) -> None:
    """A study is named by its UID; its planes trace back to SOP instances."""
    study = "1.2.826.0.1.3680043.8.498.77"
    slices = [
        instance(
            StudyInstanceUID=study,
            SeriesInstanceUID=f"{study}.1",
            SOPInstanceUID=f"{study}.1.{index}",
            ImagePositionPatient=[0, 0, float(index)],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[1, 1],
        )
        for index in range(1, 5)
    ]
    headers = {"Content-Type": CONTENT_TYPE}
    gateway.http.post("/dicom-web/studies", content=multipart(*slices), headers=headers).raise_for_status()
    source = {"study_instance_uid": study, "window_center": 100, "window_width": 200}
    answer = ask(gateway, {"type": "study", "study": source}, max_tokens=3)
    assert answer.status_code == 200, answer.text
    (item,) = answer.json()["hulumed"]["provenance"]["items"]
    assert [plane["sop_instance_uid"] for plane in item["planes"]] == [f"{study}.1.{index}" for index in range(1, 5)]
    unknown = ask(gateway, {"type": "study", "study": {**source, "series_instance_uid": "1.2.3"}})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")


def test_models_are_listed(client: OpenAI) -> None:
    """Clients ask for the list before they offer a choice."""
    assert [model.id for model in client.models.list()] == ["hulu-med (untrained)"]
    assert client.models.retrieve("hulu-med").id == "hulu-med (untrained)"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


@pytest.mark.parametrize(
    ("content", "fields", "status", "message"),
    [
        ({"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}, {}, 400, "addresses are not fetched"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,@@"}}, {}, 400, "not base64"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}, {}, 400, "is empty"),
        (image(b"no image at all"), {}, 415, "file 1 of 1"),
        (image(png()[:200]), {}, 400, "messages.0.content.0, file 1 of 1"),
        ({"type": "volume", "volume": {"file_id": "file-0"}}, {}, 404, "No such file"),
        ({"type": "volume", "volume": {}}, {}, 400, "exactly one of file_id"),
        ({"type": "volume", "volume": {"data": data_uri(gif()), "window_width": 5}}, {}, 400, "needs both"),
        ({"type": "study", "study": {"study_instance_uid": "9.9.9"}}, {}, 404, "No such study"),
        ({"type": "input_audio", "input_audio": {}}, {}, 400, "input_audio"),
        (QUESTION, {"tools": []}, 400, "tools"),
        (QUESTION, {"n": 2}, 400, "n"),
        (QUESTION, {"temperature": -1}, 400, "temperature"),
        (QUESTION, {"stop": ["a"] * 5}, 400, "one to four"),
        (QUESTION, {"model": "gpt-4o"}, 404, "only hulu-med"),
        (QUESTION, {"messages": []}, 400, "messages"),
        (QUESTION, {"messages": [{"role": "user", "content": ""}]}, 400, "messages.0: the message is empty"),
        (QUESTION, {"messages": [{"role": "user", "content": []}]}, 400, "messages.0.content"),
        ({"type": "study", "study": {"study_instance_uid": "1..2"}}, {}, 400, "1 to 64 digits with dots in between"),
        (QUESTION, {"max_tokens": 900_000}, 413, "max_new_tokens"),
        (QUESTION, {"hulumed": {"policy": "all"}}, 400, "policy"),
        (QUESTION, {"logprobs": True}, 400, "logprobs: is not supported here; leave it out"),
        (QUESTION, {"response_format": {"type": "json_object"}}, 400, "response_format"),
        ({"type": "image_url", "image_url": "data:"}, {}, 400, "messages.0.content.0.image_url: Input should be"),
    ],
)  # fmt: skip
def test_bad_request_says_what_and_where(
    gateway: RunningGateway, content: dict[str, Any], fields: dict[str, Any], status: int, message: str
) -> None:
    """An integrator mends a request by its answer alone."""
    answer = ask(gateway, content, **fields)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]["message"]


def test_fields_that_ask_for_nothing_are_fine(gateway: RunningGateway) -> None:
    """Clients send the defaults of OpenAI, and null for what they leave out."""
    defaults = {"frequency_penalty": 0, "presence_penalty": 0.0, "logprobs": False, "response_format": {"type": "text"}}
    answer = ask(gateway, **defaults, n=1, tools=None, tool_choice="none", logit_bias={}, user="x", max_tokens=2)
    assert answer.status_code == 200, answer.text


def test_conversation_goes_on_after_an_empty_answer(gateway: RunningGateway) -> None:
    """The client sends back what it got, and that may be nothing."""
    turns = [("system", "Be brief."), ("user", "a"), ("assistant", ""), ("user", "b")]
    messages = [{"role": role, "content": content} for role, content in turns]
    answer = gateway.http.post("/v1/chat/completions", json={"model": "hulu-med", "messages": messages})
    assert answer.status_code == 200, answer.text


def test_requests_together_have_a_limit() -> None:
    """A flood of large requests is told to wait before it fills the memory; what is over makes room."""
    memory = Memory(100)
    with memory.reserved() as one:
        one.add(60)
        with memory.reserved() as other:
            other.add(30)
            with pytest.raises(PlatformError, match="at the same time") as caught:
                other.add(30)
        assert caught.value.code is ErrorCode.BUSY
        one.add(40)
    with memory.reserved() as one:
        one.add(100)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"model": "\xff"}', b"[" * 100_000])
def test_body_that_is_no_json_is_refused(gateway: RunningGateway, body: bytes) -> None:
    """Neither broken text nor absurd nesting reaches beyond the door."""
    answer = gateway.http.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_input")


def test_body_over_the_limit_is_refused(gateway: RunningGateway) -> None:
    """A chat request is held in memory, so it has a limit; larger media are uploaded."""
    assert ask(gateway, {"type": "text", "text": "x" * 9_000_000}).status_code == 413


def test_png_bomb_is_refused(gateway: RunningGateway) -> None:
    """Kilobytes that unfold to gigapixels do not bring ingest down."""
    header = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(header, "PNG")
    answer = ask(gateway, image(header.getvalue()))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_special_tokens_typed_by_a_user_are_text(gateway: RunningGateway) -> None:
    """`<image>` in a question is a word, not a place for a picture."""
    answer = ask(gateway, {"type": "text", "text": "<image> <|im_end|>"}, max_tokens=2)
    assert answer.status_code == 200, answer.text


def test_client_that_leaves_frees_the_chain(gateway: RunningGateway) -> None:
    """A closed browser tab must not keep four rooms at work."""
    body = {"model": "hulu-med", "messages": [{"role": "user", "content": "count"}], "max_tokens": 4000, "stream": True}
    with gateway.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_lines())
    deadline = time.monotonic() + 5
    while REGISTRY.get_sample_value("hulumed_requests_active") != 0:
        assert time.monotonic() < deadline, "the chain still works"
        time.sleep(0.05)


def test_stream_that_fails_in_the_middle_says_so(gateway: RunningGateway) -> None:
    """After the first byte there is no status left to set; the last event is the error."""
    long = "word " * 14_000
    body = {"model": "hulu-med", "messages": [{"role": "user", "content": long}], "stream": True}
    with gateway.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = (
            [line for line in answer.iter_lines() if line] if answer.status_code == 200 else [answer.read().decode()]
        )
    error = json.loads(lines[-1].removeprefix("data: "))["error"]
    assert error["code"] == "too_large"
