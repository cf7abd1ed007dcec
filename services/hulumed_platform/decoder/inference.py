"""Text to text, for callers that speak the Open Inference Protocol."""

from collections.abc import Mapping

import numpy as np

from hulumed_platform.decoder.answering import Answer
from hulumed_platform.decoder.prompt import lay_out
from hulumed_platform.model.engine.base import Engine, Sampling
from hulumed_platform.model.prompt import Message, TextPart
from hulumed_platform.model.tokenizer import Tokenizer
from hulumed_platform.rpc.caller import Caller
from hulumed_platform.rpc.convert import invalid
from hulumed_platform.rpc.inference_tensors import Array, TensorSpec
from hulumed_platform.rpc.meter import StageMeter
from hulumed_platform.rpc.open_inference import InferenceModel
from hulumed_platform.rpc.v1 import room_pb2, tensor_pb2

MAX_NEW_TOKENS = 256
"""The protocol has no place for sampling: answers are greedy and of this length at most."""


def inference_model(engine: Engine, tokenizer: Tokenizer, description: room_pb2.RoomDescription) -> InferenceModel:
    """A `prompt` of one user to the `answer`."""

    def infer(inputs: Mapping[str, Array], caller: Caller) -> dict[str, Array]:
        messages = [Message("user", (TextPart(_text(inputs["prompt"][0])),))]
        prompt = lay_out(messages, [], [], tokenizer, engine.max_context)
        prompt.check_fits(0, engine.max_context)
        with StageMeter(description) as meter:
            answer = Answer(engine, prompt, Sampling(MAX_NEW_TOKENS), meter)
            text = "".join(step.text for step in answer.steps((), tensor_pb2.DTYPE_FLOAT32, caller.gone))
        return {"answer": np.array([text.encode()], dtype=object)}

    return InferenceModel(
        name="decoder",
        version=description.weights_digest,
        label=description.model_label,
        inputs=(TensorSpec("prompt", "BYTES", (1,)),),
        outputs=(TensorSpec("answer", "BYTES", (1,)),),
        infer=infer,
    )


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise invalid("input prompt", f"is not UTF-8 from byte {error.start} on") from None
