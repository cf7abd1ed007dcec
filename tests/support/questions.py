"""Questions to the decoder, and what comes back, in the words of tests."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hulumed_platform.rpc.v1 import decoder_pb2, media_pb2
from tests.support.chain import TENANT


def question(
    *parts: str | media_pb2.MediaRef, max_new_tokens: int = 12, **sampling: object
) -> decoder_pb2.GenerateRequest:
    """One user message; media stand where they are written."""
    request = decoder_pb2.GenerateRequest(
        tenant=TENANT,
        sampling=decoder_pb2.Sampling(max_new_tokens=max_new_tokens, **sampling),  # type: ignore[arg-type]
    )
    message = request.messages.add(role="user")
    for part in parts:
        if isinstance(part, str):
            message.parts.add(text=part)
        else:
            message.parts.add(media=len(request.media))
            request.media.append(part)
    return request


def medium(objects: Sequence[media_pb2.ObjectRef], **options: object) -> media_pb2.MediaRef:
    """A medium of some stored objects."""
    return media_pb2.MediaRef(objects=objects, options=media_pb2.PrepareOptions(**options))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Heard:
    """A whole answer as it came."""

    started: decoder_pb2.Started
    deltas: list[tuple[str, int]]
    """Text and number of tokens of each."""
    finished: decoder_pb2.Finished

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.deltas)

    @property
    def provenance(self) -> decoder_pb2.Provenance:
        return self.finished.provenance


def hear(events: Iterable[decoder_pb2.GenerateResponse]) -> Heard:
    """Listen to the end; checks that `Started` is the first event and `Finished` the last one."""
    first, *middle, last = events
    assert first.HasField("started")
    assert all(event.HasField("delta") for event in middle)
    assert last.HasField("finished")
    return Heard(first.started, [(event.delta.text, event.delta.tokens) for event in middle], last.finished)
