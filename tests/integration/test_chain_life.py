"""The rooms as processes: they start right or not at all, answer probes, survive strangers, and leave in order."""

import re
import shutil
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.decoder.settings import DecoderSettings
from hulumed_platform.encoder.settings import EncoderSettings
from hulumed_platform.model.weights import WEIGHTS_FILE
from hulumed_platform.rpc.clients import DecoderClient, RoomClient, open_channel
from tests.imaging import samples
from tests.support.chain import ROOMS, Chain, chain_in_process, chain_of_processes, running_room, wait_until_ready
from tests.support.processes import free_ports
from tests.support.questions import hear, medium, question

METHODS = {"ingest": "IngestService", "encoder": "EncoderService", "compressor": "CompressorService"}
SERVICES = {room: f"hulumed_platform.rpc.v1.{name}" for room, name in {**METHODS, "decoder": "DecoderService"}.items()}


@pytest.mark.parametrize("room", ROOMS)
def test_probes_answer(process_chain: Chain, room: str) -> None:
    """Kubernetes asks the health service, operators use grpcurl, `hulumed status` asks for the description."""
    channel = process_chain.channels[room]
    check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]
    for service in ("", SERVICES[room], "inference.GRPCInferenceService"):
        assert check(health_pb2.HealthCheckRequest(service=service), timeout=5).status == 1
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (reply,) = list(stub.ServerReflectionInfo(iter([request]), timeout=5))  # type: ignore[operator]
    listed = {service.name for service in reply.list_services_response.service}
    assert {SERVICES[room], "hulumed_platform.rpc.v1.RoomService", "inference.GRPCInferenceService"} <= listed
    description = RoomClient(channel, room).describe(timeout_s=5)
    assert (description.room, description.ready, description.device) == (room, True, "cpu")
    assert bool(description.weights_digest) == bool(description.checkpoint_digest) == (room != "ingest")


def test_rooms_measure_themselves(checkpoint_dir: Path, tmp_path: Path) -> None:
    """What operators scale on and alert on: requests, planes, tokens, queues, bytes and seconds of every stage."""
    ports = dict(zip(ROOMS, free_ports(len(ROOMS)), strict=True))
    overrides = {room: {"metrics_port": port, "metrics_host": "127.0.0.1"} for room, port in ports.items()}
    with chain_of_processes(checkpoint_dir, tmp_path, overrides) as chain:
        volume = medium(chain.store(_volume(tmp_path)), num_planes=4)
        answer = hear(chain.decoder.generate(question(volume, "What is this?", max_new_tokens=3), timeout_s=60))
        usage, (item,) = answer.provenance.usage, answer.provenance.items
        patches, tokens = 4 * item.height * item.width, usage.visual_tokens_after
        expected = {
            "ingest": {"planes_total": 4, "rows_out_total": patches, "tensor_bytes_out_total": patches * 588},
            "encoder": {"planes_total": 4, "rows_in_total": patches, "rows_out_total": patches // 4},
            "compressor": {"planes_total": 4, "rows_in_total": patches // 4, "rows_out_total": tokens},
            "decoder": {"rows_in_total": usage.prompt_tokens, "rows_out_total": usage.completion_tokens},
        }
        always = {"requests_total_ok", "request_seconds_count", "stage_seconds_count_busy", "stage_seconds_count_wait"}
        queues = {"requests_active": 0, "requests_waiting": 0, "planes_ahead": 0, "patches_queued": 0}
        for room, port in ports.items():
            want = {**dict.fromkeys(always, 1), **queues, **expected[room], "ready": 1}
            assert _measured(port, want) == want, room


def _measured(port: int, want: Mapping[str, float]) -> dict[str, float | None]:
    """A room counts a request a little after its caller has the last message, so some time is given to agree."""
    deadline = time.monotonic() + 5
    while True:
        metrics = _metrics(port)
        measured = {name: metrics.get(name) for name in want}
        if measured == want or time.monotonic() > deadline:
            return measured
        time.sleep(0.05)


def _metrics(port: int) -> dict[str, float]:
    """Samples by name without `hulumed_`; where they have them, with their code or part."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        families = text_string_to_metric_families(response.read().decode())
    samples = [sample for family in families for sample in family.samples]
    return {
        "_".join(
            filter(None, (sample.name.removeprefix("hulumed_"), sample.labels.get("code"), sample.labels.get("part")))
        ): sample.value
        for sample in samples
    }


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize(
    "garbage", [b"\x00" * 4096, b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff" * 9]
)
def test_garbage_on_the_port_leaves_the_room_alive(process_chain: Chain, room: str, garbage: bytes) -> None:
    """Port scanners and wrong clients connect to everything."""
    host, port = process_chain.addresses[room].split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(garbage)
    assert RoomClient(process_chain.channels[room], room).describe(timeout_s=5).ready
    assert process_chain.processes[room].poll() is None


@pytest.mark.parametrize("room", ["encoder", "compressor", "decoder"])
def test_parts_of_another_checkpoint_are_refused(
    checkpoint_dir: Path, other_checkpoint_dir: Path, tmp_path: Path, room: str
) -> None:
    """A half-finished rollout must not mix an encoder, projector and decoder that were never trained together."""
    overrides = {room: {"checkpoint_dir": other_checkpoint_dir}}
    with chain_in_process(checkpoint_dir, tmp_path, overrides) as chain:
        asked = question(medium(chain.store(_picture(tmp_path))), "What is this?")
        for call in (
            lambda: hear(chain.decoder.generate(asked, timeout_s=20)),
            lambda: chain.decoder.plan(asked, timeout_s=20),
        ):
            with pytest.raises(PlatformError, match="from the same checkpoint") as caught:
                call()
            assert caught.value.code is ErrorCode.WEIGHTS_MISMATCH
            assert caught.value.retryable
        assert hear(chain.decoder.generate(question("Text needs no encoder."), timeout_s=20)).text


@pytest.mark.parametrize("room", ["encoder", "compressor", "decoder"])
def test_room_with_other_weights_than_its_manifest_does_not_start(
    checkpoint_dir: Path, other_checkpoint_dir: Path, tmp_path: Path, room: str
) -> None:
    """A broken download ends the pod with a reason and an exit code, instead of serving noise."""
    broken = tmp_path / "checkpoint"
    shutil.copytree(checkpoint_dir, broken)
    shutil.copy(other_checkpoint_dir / WEIGHTS_FILE, broken / WEIGHTS_FILE)
    with pytest.raises(Exception, match="are not those of its manifest"):  # noqa: SIM117
        with chain_in_process(checkpoint_dir, tmp_path, {room: {"checkpoint_dir": broken}}):
            pass
    if room == "encoder":
        port = free_ports(1)[0]
        settings = EncoderSettings(host="127.0.0.1", port=port, checkpoint_dir=broken, ingest_address="127.0.0.1:1")
        log = tmp_path / "log"
        with running_room(room, settings, log) as process:
            assert process.wait(timeout=60) == 1
        assert re.search(r"^encoder: .* are not those of its manifest", log.read_text(), re.MULTILINE)


def test_room_with_wrong_settings_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fault is named at once, and the exit code says that starting again will not help."""
    monkeypatch.setenv("HULUMED_DECODER_PREFIL_CHUNK", "512")
    settings = DecoderSettings(checkpoint_dir=tmp_path, compressor_address="127.0.0.1:1")
    log = tmp_path / "log"
    with running_room("decoder", settings, log) as process:
        assert process.wait(timeout=60) == 2
    assert log.read_text() == "decoder: HULUMED_DECODER_PREFIL_CHUNK: no such setting\n"


@pytest.fixture
def second_decoder(process_chain: Chain, tmp_path: Path) -> Iterator[tuple[DecoderClient, Popen[bytes]]]:
    """One more decoder on the session's chain, for tests that end it."""
    port = free_ports(1)[0]
    settings = DecoderSettings(
        host="127.0.0.1",
        port=port,
        device="cpu",
        num_threads=1,
        checkpoint_dir=process_chain.checkpoint_dir,
        compressor_address=process_chain.addresses["compressor"],
    )
    log = tmp_path / "decoder.log"
    with running_room("decoder", settings, log) as process, open_channel(f"127.0.0.1:{port}") as channel:
        wait_until_ready("decoder", channel, process, log)
        yield DecoderClient(channel), process


def test_room_that_is_told_to_stop_ends_its_answers_first(
    second_decoder: tuple[DecoderClient, Popen[bytes]], process_chain: Chain
) -> None:
    """A rolling update does not cut answers in half; new questions go to other pods, and the exit code is 0."""
    client, process = second_decoder
    asked = question("Go on.", max_new_tokens=200)
    events = iter(client.generate(asked, timeout_s=60))
    heard = [next(events) for _ in range(3)]
    process.send_signal(signal.SIGTERM)
    heard += [next(events) for _ in range(3)]
    with pytest.raises(PlatformError) as caught:
        list(client.generate(asked, timeout_s=5))
    assert caught.value.retryable
    whole = hear([*heard, *events])
    assert whole.text == hear(process_chain.decoder.generate(asked, timeout_s=60)).text
    assert process.wait(timeout=10) == 0


def test_chain_that_is_told_to_stop_ends_a_study_in_the_middle(checkpoint_dir: Path, tmp_path: Path) -> None:
    """All four rooms are stopped while planes are on their way: the answer still comes whole, and nothing stays."""
    with chain_of_processes(checkpoint_dir, tmp_path) as chain:
        asked = question(medium(chain.store(_volume(tmp_path)), num_planes=120), "What is this?")
        events = iter(chain.decoder.generate(asked, timeout_s=60))
        heard = [next(events)]
        for process in chain.processes.values():
            process.send_signal(signal.SIGTERM)
        whole = hear([*heard, *events])
        assert whole.provenance.stages[0].planes == 120
        assert [process.wait(timeout=15) for process in chain.processes.values()] == [0, 0, 0, 0]
        assert not list((tmp_path / "scratch").iterdir())


def test_room_that_is_killed_fails_its_requests_at_once(checkpoint_dir: Path, tmp_path: Path) -> None:
    """A stream that ends in the middle is an error that may be tried again, never a shorter study or a wait."""
    with chain_of_processes(checkpoint_dir, tmp_path) as chain:
        asked = question(medium(chain.store(_volume(tmp_path)), num_planes=120), "What is this?")
        stream = chain.decoder.generate(asked, timeout_s=60)
        next(iter(stream))
        chain.processes["encoder"].kill()
        with pytest.raises(PlatformError, match="encoder room cannot be reached") as caught:
            list(stream)
        assert caught.value.retryable
        assert hear(chain.decoder.generate(question("Text needs no encoder."), timeout_s=20)).text


def _picture(folder: Path) -> Path:
    return samples.picture(folder / "picture.png", np.zeros((56, 56, 3), np.uint8))


def _volume(folder: Path) -> Path:
    voxels = np.random.default_rng(0).integers(0, 400, (84, 84, 120)).astype(np.int16)
    return samples.nifti(folder / "volume.nii", voxels)
