"""`/v1/chat/completions` and `/v1/models`: what the official OpenAI client speaks."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import ValidationError

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.gateway.answers import Answer
from hulumed_platform.gateway.attachments import Attachments
from hulumed_platform.gateway.bodies import limited_body
from hulumed_platform.gateway.chat_request import to_generate_request
from hulumed_platform.gateway.chat_schema import ChatRequest
from hulumed_platform.gateway.dependencies import Door, door
from hulumed_platform.gateway.errors import error_body, faults_in_words, hidden
from hulumed_platform.rpc.clients import GenerateStream
from hulumed_platform.rpc.v1 import decoder_pb2, room_pb2

router = APIRouter(prefix="/v1", tags=["chat"])

MODEL = "hulu-med"
_GONE_POLL_S = 0.2
_BODY = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": ChatRequest.model_json_schema()}}}
}


@router.get("/models")
async def list_models(door: Annotated[Door, Depends(door)]) -> dict[str, Any]:
    """The one model that is served."""
    return {"object": "list", "data": [_model(await _describe(door))]}


@router.get("/models/{model}")
async def get_model(model: str, door: Annotated[Door, Depends(door)]) -> dict[str, Any]:
    """The model, under its name."""
    description = await _describe(door)
    _check_model(model, description)
    return _model(description)


@router.post("/chat/completions", openapi_extra=_BODY, response_model=None)
async def complete(request: Request, door: Annotated[Door, Depends(door)]) -> Response:
    """Answer a conversation about text, images, volumes, videos and stored studies."""
    description = await _describe(door)
    question = await _question(request, door, description)
    answer = Answer(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), _name(description), description.checkpoint_digest)
    events = _events(door, question.asked, request)
    if not question.stream:
        return JSONResponse(answer.whole([event async for event in events]))
    # The first event is awaited here: a refused request gets an HTTP status, not an error inside a stream.
    await anext(events)
    return StreamingResponse(
        _server_sent(answer, events, include_usage=question.include_usage),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


@dataclass(frozen=True, slots=True)
class Question:
    """What is left of a chat request once its media are stored."""

    asked: decoder_pb2.GenerateRequest
    stream: bool
    include_usage: bool


async def _question(request: Request, door: Door, description: room_pb2.RoomDescription) -> Question:
    """Read the request and store what came inside, so that nothing of it stays in memory while it is answered."""
    with door.chat_memory.reserved() as memory:
        body = bytearray()
        async for piece in limited_body(
            request, door.settings.max_chat_bytes, idle_timeout_s=door.settings.body_idle_timeout_s
        ):
            memory.add(len(piece))
            body += piece
        return await to_thread.run_sync(_stored, body, door, description, limiter=door.limiter)


def _stored(body: bytearray, door: Door, description: room_pb2.RoomDescription) -> Question:
    chat = _parsed(body)
    _check_model(chat.model, description)
    attachments = Attachments(door.objects, door.database, door.settings)
    return Question(
        asked=to_generate_request(chat, attachments, door.settings),
        stream=chat.stream,
        include_usage=chat.stream_options is not None and chat.stream_options.include_usage,
    )


def _parsed(body: bytearray) -> ChatRequest:
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        raise PlatformError(ErrorCode.INVALID_INPUT, faults_in_words(faults)) from None


async def _events(
    door: Door, asked: decoder_pb2.GenerateRequest, request: Request
) -> AsyncIterator[decoder_pb2.GenerateResponse]:
    """The decoder's events as they come. A client that leaves, at any time, frees the whole chain."""
    stream = door.decoder.generate(asked, timeout_s=door.settings.request_timeout_s)
    watcher = asyncio.create_task(_cancel_when_gone(request, stream))
    waiting = iter(stream)
    try:
        while True:
            event = await to_thread.run_sync(next, waiting, None, abandon_on_cancel=True, limiter=door.answer_limiter)
            if event is None:
                raise PlatformError(ErrorCode.UNAVAILABLE, "the decoder broke off in the middle; ask again")
            yield event
            if event.HasField("finished"):
                return
    finally:
        watcher.cancel()
        stream.cancel()


async def _cancel_when_gone(request: Request, stream: GenerateStream) -> None:
    while not await request.is_disconnected():  # noqa: ASYNC110  the server offers nothing to wait for
        await asyncio.sleep(_GONE_POLL_S)
    stream.cancel()


async def _server_sent(
    answer: Answer, events: AsyncIterator[decoder_pb2.GenerateResponse], *, include_usage: bool
) -> AsyncIterator[str]:
    """Server-sent events of an answer; an error in its middle is the last one."""
    try:
        yield _sse(answer.begin())
        async for event in events:
            if (chunk := answer.chunk(event)) is not None:
                yield _sse(chunk)
            if include_usage and event.WhichOneof("event") == "finished":
                yield _sse(answer.usage_chunk(event.finished))
        yield "data: [DONE]\n\n"
    except PlatformError as error:
        yield _sse(error_body(error))
    except Exception as error:  # noqa: BLE001  the status is sent; the client must still learn that it ended badly
        yield _sse(error_body(hidden(error)))


def _sse(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body)}\n\n"


async def _describe(door: Door) -> room_pb2.RoomDescription:
    def describe() -> room_pb2.RoomDescription:
        return door.decoder_room.describe(timeout_s=door.settings.plan_timeout_s)

    return await to_thread.run_sync(describe, limiter=door.limiter)


def _check_model(name: str, description: room_pb2.RoomDescription) -> None:
    if name not in (MODEL, _name(description)):
        raise PlatformError(ErrorCode.NOT_FOUND, f"only {MODEL} is served here; GET /v1/models tells its full name")


def _name(description: room_pb2.RoomDescription) -> str:
    """The model's name with its label, so that an untrained one shows wherever its answers do."""
    return f"{MODEL} ({description.model_label})" if description.model_label else MODEL


def _model(description: room_pb2.RoomDescription) -> dict[str, Any]:
    return {
        "id": _name(description),
        "object": "model",
        "created": 0,
        "owned_by": "hulu-med",
        "checkpoint_digest": description.checkpoint_digest,
    }
