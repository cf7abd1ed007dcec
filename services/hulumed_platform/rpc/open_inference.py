"""The Open Inference Protocol v2 in front of a room, so that tools made for KServe can talk to it.

It is a unary door for small inputs that come as tensors; the platform itself speaks by reference and in streams. Only
`server.py` of a room imports this module: kserve takes a second to import.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as oip  # type: ignore[import-untyped]
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as oip_grpc

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.core.version import PLATFORM_VERSION
from hulumed_platform.rpc.caller import Caller
from hulumed_platform.rpc.clients import MAX_MESSAGE_BYTES
from hulumed_platform.rpc.convert import invalid
from hulumed_platform.rpc.inference_tensors import Array, TensorSpec, read_inputs, write_outputs
from hulumed_platform.rpc.server import Loaded, RoomServer

PLATFORM = "hulumed"
_ROOM_FOR_THE_REST = 64 * 1024
"""Bytes of a message that are not tensor data."""


@dataclass(frozen=True, slots=True)
class InferenceModel:
    """What a room does with tensors that are sent to it.

    Attributes:
        name: Name of the model in the protocol: the room's.
        version: Digest of its weights, or version of its preprocessing.
        label: What the checkpoint calls itself, e.g. "untrained"; stands with every answer.
        inputs: Tensors it takes, all of them needed.
        outputs: Tensors it gives.
        infer: Arrays by name to arrays by name; raises PlatformError for what does not fit together.
    """

    name: str
    version: str
    label: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    infer: Callable[[Mapping[str, Array], Caller], Mapping[str, Array]]


class OpenInferenceService(oip_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Live, ready, metadata and infer for the one model of a room."""

    def __init__(self, room: str, model: Loaded[InferenceModel], request_timeout_s: float) -> None:
        self._room = room
        self._model = model
        self._request_timeout_s = request_timeout_s

    def ServerLive(self, request: oip.ServerLiveRequest, context: grpc.ServicerContext) -> oip.ServerLiveResponse:
        return oip.ServerLiveResponse(live=True)

    def ServerReady(self, request: oip.ServerReadyRequest, context: grpc.ServicerContext) -> oip.ServerReadyResponse:
        return oip.ServerReadyResponse(ready=self._model.is_loaded)

    def ModelReady(self, request: oip.ModelReadyRequest, context: grpc.ServicerContext) -> oip.ModelReadyResponse:
        return oip.ModelReadyResponse(ready=self._model.is_loaded and request.name == self._room)

    def ServerMetadata(
        self, request: oip.ServerMetadataRequest, context: grpc.ServicerContext
    ) -> oip.ServerMetadataResponse:
        return oip.ServerMetadataResponse(name=f"{PLATFORM}-{self._room}", version=PLATFORM_VERSION)

    def ModelMetadata(
        self, request: oip.ModelMetadataRequest, context: grpc.ServicerContext
    ) -> oip.ModelMetadataResponse:
        model = self._named(request.name, request.version)
        return oip.ModelMetadataResponse(
            name=model.name,
            versions=[model.version],
            platform=PLATFORM,
            inputs=[spec.metadata() for spec in model.inputs],
            outputs=[spec.metadata() for spec in model.outputs],
        )

    def ModelInfer(self, request: oip.ModelInferRequest, context: grpc.ServicerContext) -> oip.ModelInferResponse:
        model = self._named(request.model_name, request.model_version)
        wanted = _wanted(request, model)
        inputs = read_inputs(request, model.inputs)
        outputs = model.infer(inputs, Caller(context, self._request_timeout_s))
        response = oip.ModelInferResponse(model_name=model.name, model_version=model.version, id=request.id)
        response.parameters["model_label"].string_param = model.label
        write_outputs(response, outputs, wanted, raw=bool(request.raw_input_contents))
        if response.ByteSize() > MAX_MESSAGE_BYTES - _ROOM_FOR_THE_REST:
            raise too_large()
        return response

    def RepositoryModelLoad(
        self, request: oip.RepositoryModelLoadRequest, context: grpc.ServicerContext
    ) -> oip.RepositoryModelLoadResponse:
        raise _unsupported()

    def RepositoryModelUnload(
        self, request: oip.RepositoryModelUnloadRequest, context: grpc.ServicerContext
    ) -> oip.RepositoryModelUnloadResponse:
        raise _unsupported()

    def _named(self, name: str, version: str) -> InferenceModel:
        model = self._model.get()
        if name != model.name or version not in ("", model.version):
            raise PlatformError(
                ErrorCode.NOT_FOUND, f"this room serves the model {model.name} in version {model.version} only"
            )
        return model


def add_open_inference(server: RoomServer, room: str, model: Loaded[InferenceModel], request_timeout_s: float) -> None:
    """Let a room speak the protocol."""
    server.register(
        oip_grpc.add_GRPCInferenceServiceServicer_to_server,
        OpenInferenceService(room, model, request_timeout_s),
        oip.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
    )


def too_large() -> PlatformError:
    """The error for tensors that do not fit into one message."""
    return PlatformError(
        ErrorCode.TOO_LARGE,
        f"the tensors take more than the {MAX_MESSAGE_BYTES} bytes of a message; "
        "store the medium and ask by reference, which streams",
    )


def _wanted(request: oip.ModelInferRequest, model: InferenceModel) -> list[TensorSpec]:
    names = {output.name for output in request.outputs}
    known = [spec.name for spec in model.outputs]
    if unknown := sorted(names.difference(known)):
        raise invalid("outputs", f"{', '.join(unknown)} is unknown; there are {', '.join(known)}")
    return [spec for spec in model.outputs if not names or spec.name in names]


def _unsupported() -> PlatformError:
    return PlatformError(ErrorCode.UNSUPPORTED, "a room loads its model once, when it starts; start another room")
