"""Where the decoder gets visual tokens from: the compressor, or nowhere for a question of text alone."""

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from hulumed_platform.decoder.question import Question
from hulumed_platform.model.digests import Digests
from hulumed_platform.rpc.caller import Caller
from hulumed_platform.rpc.clients import StageClient
from hulumed_platform.rpc.stage import check_digest
from hulumed_platform.rpc.stream import Plane
from hulumed_platform.rpc.v1 import stage_pb2


class VisualTokens(Protocol):
    """A stream of embeddings; a context manager whose end cancels what still runs."""

    @property
    def header(self) -> stage_pb2.StreamHeader: ...

    @property
    def trailer(self) -> stage_pb2.StreamTrailer: ...

    def __iter__(self) -> Iterator[Plane]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class _NoVisualTokens:
    """Of a question without media."""

    header = stage_pb2.StreamHeader()
    trailer = stage_pb2.StreamTrailer()

    def __iter__(self) -> Iterator[Plane]:
        return iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class VisualSource:
    """Asks the compressor on behalf of one checkpoint."""

    def __init__(self, compressor: StageClient, digests: Digests) -> None:
        self._compressor = compressor
        self._digests = digests

    def plan(self, question: Question, caller: Caller) -> stage_pb2.PlanResponse:
        """Exact planes and tokens of the question's media."""
        if not question.media:
            return stage_pb2.PlanResponse()
        request = question.stage_request(self._digests.checkpoint)
        return self._compressor.plan(request, timeout_s=caller.remaining_s(), on_leave=caller.on_leave)

    def open(self, question: Question, caller: Caller) -> VisualTokens:
        """Start the chain and wait for its header.

        Raises:
            PlatformError: What the stages have to say; WEIGHTS_MISMATCH where one has parts of another checkpoint.
        """
        if not question.media:
            return _NoVisualTokens()
        request = question.stage_request(self._digests.checkpoint)
        stream = self._compressor.stream(request, timeout_s=caller.remaining_s(), on_leave=caller.on_leave)
        try:
            self._check(stream.header)
        except BaseException:
            stream.cancel()
            raise
        return stream

    def _check(self, header: stage_pb2.StreamHeader) -> None:
        ours = self._digests
        check_digest("checkpoint of the compressor", theirs=header.checkpoint_digest, ours=ours.checkpoint)
        check_digest("weights of the encoder", theirs=header.encoder_digest, ours=ours.encoder)
        check_digest("weights of the projector", theirs=header.projector_digest, ours=ours.projector)
