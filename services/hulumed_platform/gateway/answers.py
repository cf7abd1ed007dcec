"""Events of the decoder to the objects of OpenAI's schema; our provenance rides along as the field `hulumed`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hulumed_platform.rpc.trace_json import provenance_to_json
from hulumed_platform.rpc.v1 import decoder_pb2


@dataclass(frozen=True, slots=True)
class Answer:
    """Names one answer and puts its objects together."""

    id: str
    created: int
    """Seconds since 1970."""
    model: str
    checkpoint_digest: str

    def whole(self, events: Sequence[decoder_pb2.GenerateResponse]) -> dict[str, Any]:
        """The `chat.completion` of a finished answer."""
        finished = events[-1].finished
        text = "".join(event.delta.text for event in events)
        return {
            **self._head("chat.completion"),
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": finished.finish_reason,
                }
            ],
            "usage": usage(finished),
            "hulumed": {"provenance": provenance_to_json(finished.provenance)},
        }

    def begin(self) -> dict[str, Any]:
        """The first chunk of a stream."""
        return self._chunk({"role": "assistant", "content": ""}, None)

    def chunk(self, event: decoder_pb2.GenerateResponse) -> dict[str, Any] | None:
        """The chunk for an event; None where there is nothing to show yet."""
        match event.WhichOneof("event"):
            case "delta" if event.delta.text:
                return self._chunk({"content": event.delta.text}, None)
            case "finished":
                end = self._chunk({}, event.finished.finish_reason)
                return {**end, "hulumed": {"provenance": provenance_to_json(event.finished.provenance)}}
            case _:
                return None

    def usage_chunk(self, finished: decoder_pb2.Finished) -> dict[str, Any]:
        """The extra chunk that `stream_options.include_usage` asks for."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage(finished)}

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.checkpoint_digest,
        }


def usage(finished: decoder_pb2.Finished) -> dict[str, Any]:
    """Token counts; the visual ones are part of the prompt's, after compression."""
    counts = finished.provenance.usage
    return {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
        "prompt_tokens_details": {
            "visual_tokens": counts.visual_tokens_after,
            "visual_tokens_before_compression": counts.visual_tokens_before,
        },
    }
