"""Features to embeddings, for callers that speak the Open Inference Protocol."""

from collections.abc import Mapping

import numpy as np
import torch

from hulumed_platform.compressor.compression import Compressor
from hulumed_platform.model.compression import KeepRule
from hulumed_platform.rpc.caller import Caller
from hulumed_platform.rpc.convert import invalid
from hulumed_platform.rpc.inference_tensors import Array, TensorSpec
from hulumed_platform.rpc.open_inference import InferenceModel
from hulumed_platform.rpc.v1 import room_pb2


def inference_model(
    compressor: Compressor, description: room_pb2.RoomDescription, *, in_features: int, out_features: int
) -> InferenceModel:
    """`features` and `novelty` of the planes of one item to `embeddings` of the tokens that the default rule keeps."""

    def infer(inputs: Mapping[str, Array], _caller: Caller) -> dict[str, Array]:
        features, novelty = inputs["features"], inputs["novelty"]
        if features.shape[:2] != novelty.shape:
            raise invalid("input novelty", f"shape {list(novelty.shape)} came for features {list(features.shape)}")
        planes = [
            compressor.compress(
                torch.tensor(features[plane]),
                novelty[plane],
                KeepRule(),
                plane=plane,
                num_planes=len(features),
                compressible=True,  # of no effect on a single plane
            )
            for plane in range(len(features))
        ]
        return {
            "embeddings": torch.cat([embeddings for embeddings, _ in planes]).float().numpy(),
            "kept": np.stack([kept for _, kept in planes]),
        }

    return InferenceModel(
        name="compressor",
        version=description.weights_digest,
        label=description.model_label,
        inputs=(TensorSpec("features", "FP32", (-1, -1, in_features)), TensorSpec("novelty", "FP32", (-1, -1))),
        outputs=(TensorSpec("embeddings", "FP32", (-1, out_features)), TensorSpec("kept", "BOOL", (-1, -1))),
        infer=infer,
    )
