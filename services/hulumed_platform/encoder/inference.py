"""Patches to features, for callers that speak the Open Inference Protocol."""

from collections.abc import Mapping

import numpy as np

from hulumed_platform.encoder.batching import Batcher, Grid
from hulumed_platform.rpc.caller import Caller
from hulumed_platform.rpc.convert import invalid
from hulumed_platform.rpc.inference_tensors import Array, TensorSpec
from hulumed_platform.rpc.open_inference import InferenceModel
from hulumed_platform.rpc.v1 import room_pb2


def inference_model(
    batcher: Batcher, description: room_pb2.RoomDescription, *, patch_dim: int, hidden_size: int
) -> InferenceModel:
    """`patches` of planes of one `grid` to their `features`, in batches with those of all other requests."""

    def infer(inputs: Mapping[str, Array], caller: Caller) -> dict[str, Array]:
        patches = inputs["patches"]
        grid = _grid(inputs, patches.shape[1])
        promises = [batcher.submit(plane, grid, caller.gone) for plane in patches]
        return {"features": np.stack([promise.result().features.float().numpy() for promise in promises])}

    return InferenceModel(
        name="encoder",
        version=description.weights_digest,
        label=description.model_label,
        inputs=(
            TensorSpec("patches", "UINT8", (-1, -1, patch_dim)),
            TensorSpec("grid", "INT64", (2,)),
            TensorSpec("merge", "INT64", (1,)),
        ),
        outputs=(TensorSpec("features", "FP32", (-1, -1, hidden_size)),),
        infer=infer,
    )


def _grid(inputs: Mapping[str, Array], num_patches: int) -> Grid:
    height, width = (int(length) for length in inputs["grid"])
    merge = int(inputs["merge"][0])
    if height < 1 or width < 1 or height * width != num_patches:
        raise invalid("input grid", f"{height} x {width} is not the {num_patches} patches of a plane")
    if merge not in (1, 2) or height % merge or width % merge:
        raise invalid("input merge", f"{merge} does not fit; use 1, or 2 where both sides of the grid are even")
    return Grid(height, width, merge)
