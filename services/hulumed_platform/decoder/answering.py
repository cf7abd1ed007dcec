"""Makes one answer: feeds the engine with text and planes as they come, and notes what the answer stands on."""

import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.decoder.prompt import Prompt
from hulumed_platform.model.engine.base import Block, EmbeddingBlock, Engine, FinishReason, Sampling, Step, TokenBlock
from hulumed_platform.model.errors import ContextLengthError, EngineClosedError, ModelError
from hulumed_platform.model.prompt import PlaneSegment, TextSegment
from hulumed_platform.rpc import codec
from hulumed_platform.rpc.meter import StageMeter
from hulumed_platform.rpc.stream import Plane
from hulumed_platform.rpc.torch_codec import to_tensor
from hulumed_platform.rpc.v1 import decoder_pb2, tensor_pb2


@dataclass(slots=True)
class Answer:
    """One answer while it is made; read the notes when `steps` is at its end."""

    engine: Engine
    prompt: Prompt
    sampling: Sampling
    meter: StageMeter
    visual_tokens: int = 0
    evidence: list[decoder_pb2.PlaneEvidence] = field(default_factory=list)
    """Which tokens of every plane the engine saw."""
    first_token_s: float = 0.0
    finish_reason: FinishReason | None = None

    @property
    def prompt_tokens(self) -> int:
        """Tokens of text and planes."""
        return self.prompt.num_text_tokens + self.visual_tokens

    @property
    def completion_tokens(self) -> int:
        """Tokens drawn, an end token included."""
        return self.meter.rows_out

    def steps(
        self, planes: Iterable[Plane], dtype: tensor_pb2.DType.ValueType, gone: threading.Event
    ) -> Iterator[Step]:
        """Yield the answer while it is drawn.

        Args:
            planes: embeddings of kept tokens, in the order of the prompt.
            dtype: of the embeddings.
            gone: set when nobody waits any more.

        Raises:
            PlatformError: what the stages before have to say; TOO_LARGE for too long a prompt; CANCELLED.
        """
        blocks = self._blocks(self.meter.awaited(planes), dtype)
        with _model_errors(), closing(_generator(self.engine, blocks, self.sampling, gone)) as steps:
            for step in steps:
                if step.finish_reason == "cancelled":
                    raise PlatformError(ErrorCode.CANCELLED, "the caller left before the answer was complete")
                self._note(step)
                yield step

    def _note(self, step: Step) -> None:
        if step.token_ids and not self.completion_tokens:
            self.first_token_s = self.meter.wall_s
        self.meter.generated(len(step.token_ids))
        self.finish_reason = step.finish_reason
        self.meter.busy_s = self.meter.wall_s - self.meter.wait_s

    def _blocks(self, planes: Iterator[Plane], dtype: tensor_pb2.DType.ValueType) -> Iterator[Block]:
        for segment in self.prompt.segments:
            match segment:
                case TextSegment(ids):
                    self.meter.came_in(len(ids))
                    yield TokenBlock(ids)
                case PlaneSegment(item, index):
                    plane = next(planes)
                    assert (plane.item, plane.plane) == (item, index), "the stream has the order of the prompt"
                    self._place(plane)
                    yield EmbeddingBlock(to_tensor(plane.rows, dtype))
        # Past the last plane stands the trailer: reading it checks that the stream is whole.
        assert next(planes, None) is None

    def _place(self, plane: Plane) -> None:
        self.meter.came_in(len(plane.rows))
        self.meter.planes += 1
        self.visual_tokens += len(plane.rows)
        assert plane.kept is not None, "the compressor says what it kept"
        kept_bits = codec.pack_bits(plane.kept)
        self.evidence.append(decoder_pb2.PlaneEvidence(item=plane.item, plane=plane.plane, kept_bits=kept_bits))


def _generator(
    engine: Engine, blocks: Iterable[Block], sampling: Sampling, gone: threading.Event
) -> Generator[Step, None, None]:
    yield from engine.generate(blocks, sampling, gone)


@contextmanager
def _model_errors() -> Iterator[None]:
    try:
        yield
    except ContextLengthError as error:
        raise PlatformError(ErrorCode.TOO_LARGE, str(error)) from error
    except EngineClosedError as error:
        raise PlatformError(ErrorCode.UNAVAILABLE, "the decoder is shutting down; try again") from error
    except ModelError as error:
        raise PlatformError(ErrorCode.INVALID_INPUT, str(error)) from error
