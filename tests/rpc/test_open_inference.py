"""The Open Inference Protocol v2 in front of every room: what KServe's tools send and expect."""

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from kserve.protocol.grpc import grpc_predict_v2_pb2 as oip  # type: ignore[import-untyped]
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as oip_grpc
from numpy.typing import NDArray

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.model.checkpoint import Checkpoint
from hulumed_platform.rpc.clients import unary
from tests.imaging import samples
from tests.support.chain import ROOMS, Chain

Array = NDArray[Any]
DTYPES = {"UINT8": np.uint8, "INT64": np.int64, "FP32": np.float32, "BOOL": np.bool_}
CONTENTS = {"UINT8": "uint_contents", "INT64": "int64_contents", "FP32": "fp32_contents", "BYTES": "bytes_contents"}


def infer(chain: Chain, room: str, inputs: dict[str, tuple[str, Array]], *, raw: bool) -> dict[str, Array]:
    """Call a room's model as a client of the protocol does."""
    request = oip.ModelInferRequest(model_name=room, id="42")
    for name, (datatype, array) in inputs.items():
        tensor = request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        if not raw:
            getattr(tensor.contents, CONTENTS[datatype]).extend(array.ravel().tolist())
        elif datatype == "BYTES":
            request.raw_input_contents.append(b"".join(len(e).to_bytes(4, "little") + e for e in array.ravel()))
        else:
            request.raw_input_contents.append(array.tobytes())
    response = send(chain, room, request)
    assert (response.id, bool(response.raw_output_contents)) == ("42", raw)
    return {tensor.name: read(tensor, response, index) for index, tensor in enumerate(response.outputs)}


def send(chain: Chain, room: str, request: Any) -> Any:
    stub = oip_grpc.GRPCInferenceServiceStub(chain.channels[room])
    return unary(stub.ModelInfer, request, timeout_s=20, stage=room)


def read(tensor: Any, response: Any, index: int) -> Array:
    if tensor.datatype == "BYTES":
        values = list(tensor.contents.bytes_contents) or [response.raw_output_contents[index][4:]]
        return np.array(values, dtype=object)
    dtype = DTYPES[tensor.datatype]
    if response.raw_output_contents:
        return np.frombuffer(response.raw_output_contents[index], dtype).reshape(tensor.shape)
    field = "bool_contents" if tensor.datatype == "BOOL" else CONTENTS[tensor.datatype]
    return np.array(getattr(tensor.contents, field), dtype).reshape(tensor.shape)


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "contents"])
def test_tensors_go_through_all_rooms(chain: Chain, tmp_path: Any, raw: bool) -> None:
    """A volume by hand through ingest, encoder and compressor gives what the model's parts give."""
    voxels = np.random.default_rng(0).integers(0, 400, (42, 42, 3)).astype(np.int16)
    content = samples.nifti(tmp_path / "volume.nii", voxels).read_bytes()
    planes = infer(chain, "ingest", {"content": ("BYTES", np.array([content], dtype=object))}, raw=raw)
    num_planes, num_patches, patch_dim = planes["patches"].shape
    assert (num_planes, patch_dim, planes["merge"].tolist()) == (3, 588, [2])
    assert num_patches == planes["grid"].prod()
    inputs = {"patches": ("UINT8", planes["patches"]), "grid": ("INT64", planes["grid"])}
    features = infer(chain, "encoder", {**inputs, "merge": ("INT64", planes["merge"])}, raw=raw)["features"]
    encoder = Checkpoint.open(chain.checkpoint_dir).load_encoder(torch.device("cpu"))
    height, width = planes["grid"].tolist()
    want = encoder(torch.tensor(planes["patches"]), height, width, 2).numpy()
    np.testing.assert_array_equal(features, want)
    kept = infer(chain, "compressor", {"features": ("FP32", features), "novelty": ("FP32", planes["novelty"])}, raw=raw)
    assert kept["kept"][0].all()
    assert len(kept["embeddings"]) == kept["kept"].sum()


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "contents"])
def test_text_is_answered(chain: Chain, raw: bool) -> None:
    """A prompt goes in, an answer comes out, always the same one."""
    prompt = {"prompt": ("BYTES", np.array(["Was zeigt das? ü".encode()], dtype=object))}
    first, second = (infer(chain, "decoder", prompt, raw=raw)["answer"][0] for _ in range(2))
    assert first == second
    assert first.decode()


@pytest.mark.parametrize("room", ROOMS)
def test_probes_and_metadata(chain: Chain, room: str) -> None:
    """KServe asks these before it sends anything; the version of a model room is the digest of its weights."""
    stub = oip_grpc.GRPCInferenceServiceStub(chain.channels[room])
    assert stub.ServerLive(oip.ServerLiveRequest(), timeout=5).live
    assert stub.ServerReady(oip.ServerReadyRequest(), timeout=5).ready
    assert stub.ModelReady(oip.ModelReadyRequest(name=room), timeout=5).ready
    assert not stub.ModelReady(oip.ModelReadyRequest(name="other"), timeout=5).ready
    assert stub.ServerMetadata(oip.ServerMetadataRequest(), timeout=5).name == f"hulumed-{room}"
    metadata = stub.ModelMetadata(oip.ModelMetadataRequest(name=room), timeout=5)
    assert metadata.versions[0].startswith("hulumed-planes/" if room == "ingest" else "sha256:")
    assert metadata.inputs
    assert metadata.outputs


def request_with(**changes: Any) -> Any:
    """A good request to the encoder, one plane of 2 x 2 patches, with something changed."""
    request = oip.ModelInferRequest(model_name=changes.get("model_name", "encoder"))
    tensors = {
        "patches": ("UINT8", [1, 4, 588], bytes(4 * 588)),
        "grid": ("INT64", [2], np.array([2, 2], "<i8").tobytes()),
        "merge": ("INT64", [1], np.array([1], "<i8").tobytes()),
    }
    for name, (datatype, shape, raw) in {**tensors, **changes.get("tensors", {})}.items():
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.raw_input_contents.append(raw)
    return request


def malformed() -> Iterator[Any]:
    def grid(*lengths: int) -> tuple[str, list[int], bytes]:
        return ("INT64", [len(lengths)], np.array(lengths, "<i8").tobytes())

    yield pytest.param({"tensors": {"patches": ("FP32", [1, 4, 588], bytes(9408))}}, "send UINT8", id="datatype")
    yield pytest.param({"tensors": {"patches": ("UINT8", [1, 4, 587], bytes(2348))}}, r"\[-1, -1, 588\]", id="shape")
    yield pytest.param({"tensors": {"patches": ("UINT8", [2, 4, 588], bytes(2352))}}, "needs 4704 values", id="short")
    yield pytest.param({"tensors": {"patches": ("UINT8", [0, 4, 588], b"")}}, "above 0", id="empty")
    yield pytest.param({"tensors": {"patches": ("UINT8", [2**62, 4, 588], b"")}}, "values", id="claims-the-world")
    yield pytest.param({"tensors": {"grid": grid(3, 2)}}, "not the 4 patches", id="grid")
    yield pytest.param({"tensors": {"grid": grid(-2, -2)}}, "not the 4 patches", id="negative")
    yield pytest.param({"tensors": {"merge": grid(3)}}, "does not fit", id="merge")
    yield pytest.param({"tensors": {"merge": ("INT64", [1], b"123")}}, "whole number", id="torn")
    yield pytest.param({"tensors": {"more": grid(1)}}, "send patches, grid, merge", id="unknown-input")


@pytest.mark.parametrize(("changes", "words"), list(malformed()))
def test_malformed_tensors_are_refused_in_words(chain: Chain, changes: dict[str, Any], words: str) -> None:
    """No request makes the room fail, and each refusal says what to send instead."""
    with pytest.raises(PlatformError, match=words) as caught:
        send(chain, "encoder", request_with(**changes))
    assert caught.value.code is ErrorCode.INVALID_INPUT


def test_contents_out_of_range_are_refused(chain: Chain) -> None:
    """A uint8 tensor sent as numbers may hold numbers that are none."""
    request = request_with()
    del request.raw_input_contents[:]
    request.inputs[0].contents.uint_contents.extend([256] * (4 * 588))
    request.inputs[1].contents.int64_contents.extend([2, 2])
    request.inputs[2].contents.int64_contents.append(1)
    with pytest.raises(PlatformError, match="does not fit into UINT8"):
        send(chain, "encoder", request)


def test_unknown_model_and_output_are_named(chain: Chain) -> None:
    """A wrong name is the commonest mistake of a new client."""
    with pytest.raises(PlatformError, match="serves the model encoder") as caught:
        send(chain, "encoder", request_with(model_name="resnet"))
    assert caught.value.code is ErrorCode.NOT_FOUND
    request = request_with()
    request.outputs.add(name="logits")
    with pytest.raises(PlatformError, match="logits is unknown; there are features"):
        send(chain, "encoder", request)


@pytest.mark.parametrize(
    ("room", "content", "words"),
    [
        ("ingest", b"neither picture nor film", "file"),
        ("decoder", b"\xff\xfe", "not UTF-8 from byte 0"),
        ("decoder", b"x" * 70_000, "send less text"),
    ],
)
def test_content_that_cannot_be_read_is_refused(chain: Chain, room: str, content: bytes, words: str) -> None:
    """What is inside a tensor is as untrusted as the tensor."""
    name = "content" if room == "ingest" else "prompt"
    with pytest.raises(PlatformError, match=words) as caught:
        infer(chain, room, {name: ("BYTES", np.array([content], dtype=object))}, raw=True)
    assert caught.value.code is not ErrorCode.INTERNAL


def test_a_room_has_one_model(chain: Chain) -> None:
    """Loading another is refused as unsupported, not as an internal error."""
    stub = oip_grpc.GRPCInferenceServiceStub(chain.channels["encoder"])
    with pytest.raises(grpc.RpcError) as caught:
        stub.RepositoryModelLoad(oip.RepositoryModelLoadRequest(model_name="other"), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
