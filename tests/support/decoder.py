"""A decoder that does as the test says, over real gRPC: it answers, fails, or holds on until it is let go."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import pytest

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.rpc import errors
from hulumed_platform.rpc.v1 import decoder_pb2, decoder_pb2_grpc, media_pb2, stage_pb2

Behaviour = Callable[[decoder_pb2.GenerateRequest, grpc.ServicerContext], Iterator[decoder_pb2.GenerateResponse]]
"""What `Generate` does with one call."""

MAX_CONTEXT_TOKENS = 4096


@dataclass
class ScriptedDecoder(decoder_pb2_grpc.DecoderServiceServicer):
    """Takes one behaviour after the other from its script; when that is empty it answers."""

    script: deque[Behaviour] = field(default_factory=deque)
    plan_error: PlatformError | None = None
    """What `Plan` fails with."""
    prompt_tokens: int = 64
    planned: list[decoder_pb2.GenerateRequest] = field(default_factory=list)
    asked: list[decoder_pb2.GenerateRequest] = field(default_factory=list)
    """Requests that came to `Generate`."""
    address: str = ""

    def Plan(self, request: decoder_pb2.GenerateRequest, context: grpc.ServicerContext) -> stage_pb2.PlanResponse:
        self.planned.append(request)
        if self.plan_error is not None:
            errors.abort(context, self.plan_error)
        return stage_pb2.PlanResponse(
            items=_items(request),
            visual_tokens_before=16,
            visual_tokens_after=8,
            preprocessing_version="scripted",
            prompt_tokens=self.prompt_tokens,
            max_context_tokens=MAX_CONTEXT_TOKENS,
        )

    def Generate(
        self, request: decoder_pb2.GenerateRequest, context: grpc.ServicerContext
    ) -> Iterator[decoder_pb2.GenerateResponse]:
        self.asked.append(request)
        behaviour = self.script.popleft() if self.script else answers()
        return behaviour(request, context)


def answers(text: str = "Findings: none.") -> Behaviour:
    """Answer word by word, with the provenance and evidence of a decoder that was asked the same."""

    def behave(
        request: decoder_pb2.GenerateRequest, _context: grpc.ServicerContext
    ) -> Iterator[decoder_pb2.GenerateResponse]:
        items = _items(request)
        yield decoder_pb2.GenerateResponse(started=decoder_pb2.Started(items=items))
        words = text.split(" ")
        for index, word in enumerate(words):
            delta = decoder_pb2.Delta(text=word if index == 0 else f" {word}", tokens=1)
            yield decoder_pb2.GenerateResponse(delta=delta)
        yield decoder_pb2.GenerateResponse(finished=_finished(request, items, len(words)))

    return behave


def fails(error: PlatformError) -> Behaviour:
    """Fail before the first event."""

    def behave(
        _request: decoder_pb2.GenerateRequest, context: grpc.ServicerContext
    ) -> Iterator[decoder_pb2.GenerateResponse]:
        errors.abort(context, error)

    return behave


def breaks_off(text: str = "Findings:") -> Behaviour:
    """End the stream after the first word, without `Finished`."""

    def behave(
        _request: decoder_pb2.GenerateRequest, _context: grpc.ServicerContext
    ) -> Iterator[decoder_pb2.GenerateResponse]:
        yield decoder_pb2.GenerateResponse(delta=decoder_pb2.Delta(text=text, tokens=1))

    return behave


@dataclass
class Holds:
    """A behaviour that starts to answer and waits in the middle, until it is let go or its caller leaves."""

    then: Behaviour = field(default_factory=answers)
    reached: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    """Set once the call is over, whoever ended it."""

    def __call__(
        self, request: decoder_pb2.GenerateRequest, context: grpc.ServicerContext
    ) -> Iterator[decoder_pb2.GenerateResponse]:
        context.add_callback(self.left.set)
        context.add_callback(self.let_go.set)
        yield decoder_pb2.GenerateResponse(started=decoder_pb2.Started(items=_items(request)))
        self.reached.set()
        self.let_go.wait()
        if context.is_active():
            yield from self.then(request, context)


@contextmanager
def serving(decoder: ScriptedDecoder, port: int = 0) -> Iterator[ScriptedDecoder]:
    """Serve the decoder on loopback while the block runs; `address` says where."""
    server = grpc.server(ThreadPoolExecutor(8), options=(("grpc.so_reuseport", 0),))
    decoder_pb2_grpc.add_DecoderServiceServicer_to_server(decoder, server)
    decoder.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield decoder
    finally:
        server.stop(None).wait()


@pytest.fixture
def scripted_decoder() -> Iterator[ScriptedDecoder]:
    """A decoder that answers, unless the test tells it otherwise."""
    with serving(ScriptedDecoder()) as decoder:
        yield decoder


def _items(request: decoder_pb2.GenerateRequest) -> list[media_pb2.Item]:
    """One volume of 2x2 tokens a plane for each medium, a plane for each of its objects, two tokens kept of each."""
    return [
        media_pb2.Item(
            media=index,
            kind=media_pb2.MEDIA_KIND_VOLUME,
            height=4,
            width=4,
            merge=2,
            planes=[media_pb2.PlaneSource(digest=one.digest, index=n) for n, one in enumerate(medium.objects)],
            description="scripted",
            kept=[2] * len(medium.objects),
        )
        for index, medium in enumerate(request.media)
    ]


def _finished(
    request: decoder_pb2.GenerateRequest, items: list[media_pb2.Item], num_tokens: int
) -> decoder_pb2.Finished:
    planes = [(index, plane) for index, item in enumerate(items) for plane in range(len(item.planes))]
    return decoder_pb2.Finished(
        finish_reason="stop",
        provenance=decoder_pb2.Provenance(
            content_key="sha256:scripted",
            preprocessing_version="scripted",
            items=items,
            model_label="scripted",
            model_trained=False,
            messages=request.messages,
            sampling=request.sampling,
            usage=decoder_pb2.Usage(
                prompt_tokens=64 + 2 * len(planes),
                completion_tokens=num_tokens,
                visual_tokens_before=4 * len(planes),
                visual_tokens_after=2 * len(planes),
            ),
        ),
        evidence=[decoder_pb2.PlaneEvidence(item=item, plane=plane, kept_bits=b"\xc0") for item, plane in planes],
    )
