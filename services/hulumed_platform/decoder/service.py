"""DecoderService: protobuf in, protobuf out."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import grpc

from hulumed_platform.decoder.answering import Answer
from hulumed_platform.decoder.prompt import Prompt, lay_out
from hulumed_platform.decoder.provenance import finished, name_model
from hulumed_platform.decoder.question import Question, read_question
from hulumed_platform.decoder.visual import VisualSource, VisualTokens
from hulumed_platform.model.digests import Digests
from hulumed_platform.model.engine.base import Engine
from hulumed_platform.model.tokenizer import Tokenizer
from hulumed_platform.rpc.caller import Caller
from hulumed_platform.rpc.clients import StageClient
from hulumed_platform.rpc.meter import StageMeter
from hulumed_platform.rpc.server import Loaded
from hulumed_platform.rpc.v1 import decoder_pb2, decoder_pb2_grpc, room_pb2, stage_pb2


@dataclass(frozen=True, slots=True)
class DecoderCore:
    """What the room has once its weights are in."""

    engine: Engine
    engine_name: str
    tokenizer: Tokenizer
    digests: Digests
    description: room_pb2.RoomDescription
    trained: bool


class DecoderService(decoder_pb2_grpc.DecoderServiceServicer):
    """Plans and answers."""

    def __init__(
        self, core: Loaded[DecoderCore], compressor: StageClient, *, max_new_tokens: int, request_timeout_s: float
    ) -> None:
        self._core = core
        self._compressor = compressor
        self._max_new_tokens = max_new_tokens
        self._request_timeout_s = request_timeout_s

    def Plan(self, request: decoder_pb2.GenerateRequest, context: grpc.ServicerContext) -> stage_pb2.PlanResponse:
        core = self._core.get()
        question = read_question(request, self._max_new_tokens)
        caller = Caller(context, self._request_timeout_s)
        plan = VisualSource(self._compressor, core.digests).plan(question, caller)
        prompt = lay_out(question.messages, plan.items, plan.left_out, core.tokenizer, core.engine.max_context)
        plan.prompt_tokens = prompt.num_text_tokens + plan.visual_tokens_after
        plan.max_context_tokens = core.engine.max_context
        question.restore_order([*plan.items, *plan.left_out])
        return plan

    def Generate(
        self, request: decoder_pb2.GenerateRequest, context: grpc.ServicerContext
    ) -> Iterator[decoder_pb2.GenerateResponse]:
        core = self._core.get()
        question = read_question(request, self._max_new_tokens)
        caller = Caller(context, self._request_timeout_s)
        with StageMeter(core.description) as meter:
            with meter.waiting():
                visual, prompt = self._open(core, question, caller)
            with visual:
                header = stage_pb2.StreamHeader()
                header.CopyFrom(visual.header)
                question.restore_order([*header.items, *header.left_out])
                started = decoder_pb2.Started(items=header.items, left_out=header.left_out)
                yield decoder_pb2.GenerateResponse(started=started)
                answer = Answer(core.engine, prompt, question.sampling, meter)
                for step in answer.steps(visual, header.dtype, caller.gone):
                    delta = decoder_pb2.Delta(text=step.text, tokens=len(step.token_ids))
                    yield decoder_pb2.GenerateResponse(delta=delta)
                end = finished(request, question, answer, header, visual.trailer.stages)
                _name_model(end.provenance, core)
                yield decoder_pb2.GenerateResponse(finished=end)

    def _open(self, core: DecoderCore, question: Question, caller: Caller) -> tuple[VisualTokens, Prompt]:
        """Start the chain, unless the prompt cannot fit.

        Only a prompt that might be too long is counted exactly first: that costs a pass over its pixels, but no GPU.
        The first stream is given back for that time, as it holds a place in every stage.
        """
        source = VisualSource(self._compressor, core.digests)
        with ExitStack() as stack:
            visual = stack.enter_context(source.open(question, caller))
            header, max_context = visual.header, core.engine.max_context
            prompt = lay_out(question.messages, header.items, header.left_out, core.tokenizer, max_context)
            if prompt.most_tokens < max_context:
                stack.pop_all()
                return visual, prompt
        prompt.check_fits(source.plan(question, caller).visual_tokens_after, max_context)
        return source.open(question, caller), prompt


def _name_model(provenance: decoder_pb2.Provenance, core: DecoderCore) -> None:
    name_model(
        provenance,
        core.digests,
        label=core.description.model_label,
        trained=core.trained,
        engine=core.engine_name,
    )
