"""One encoded file to planes, for callers that speak the Open Inference Protocol."""

from collections.abc import Mapping

import numpy as np

from hulumed_platform.imaging.prepare import PREPROCESSING_VERSION, Preparation
from hulumed_platform.imaging.types import PATCH_DIM
from hulumed_platform.ingest.preparation import Preparer
from hulumed_platform.rpc.caller import Caller
from hulumed_platform.rpc.clients import MAX_MESSAGE_BYTES
from hulumed_platform.rpc.convert import invalid
from hulumed_platform.rpc.inference_tensors import Array, TensorSpec
from hulumed_platform.rpc.open_inference import InferenceModel, too_large


def inference_model(preparer: Preparer) -> InferenceModel:
    """`content`, a picture, DICOM file, NIfTI volume or film, to the planes of its one item."""

    def infer(inputs: Mapping[str, Array], caller: Caller) -> dict[str, Array]:
        with preparer.open_content(inputs["content"][0], timeout_s=caller.remaining_s()) as preparation:
            return _planes(preparation)

    return InferenceModel(
        name="ingest",
        version=PREPROCESSING_VERSION,
        label="",
        inputs=(TensorSpec("content", "BYTES", (1,)),),
        outputs=(
            TensorSpec("patches", "UINT8", (-1, -1, PATCH_DIM)),
            TensorSpec("grid", "INT64", (2,)),
            TensorSpec("merge", "INT64", (1,)),
            TensorSpec("novelty", "FP32", (-1, -1)),
        ),
        infer=infer,
    )


def _planes(preparation: Preparation) -> dict[str, Array]:
    if len(preparation.items) != 1:
        raise invalid("content", f"holds {len(preparation.items)} images or series; send a file that holds one")
    (item,) = preparation.items
    if item.num_planes * item.height * item.width * PATCH_DIM > MAX_MESSAGE_BYTES:
        raise too_large()
    planes = list(preparation.planes())
    return {
        "patches": np.stack([plane.patches for plane in planes]),
        "grid": np.array([item.height, item.width]),
        "merge": np.array([item.merge]),
        "novelty": np.stack([plane.novelty for plane in planes]),
    }
