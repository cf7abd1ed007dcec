import json
import signal
import socket
import time
import urllib.request
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import psutil
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from hulumed_platform.cli.samples import write_brain
from tests.support.dimse import dcmtk
from tests.support.platform import Platform, hulumed, start, stop, wait_until_ready
from tests.support.study_desk import wait_until

pytestmark = pytest.mark.slow

_ROOMS = ["ingest", "encoder", "compressor", "decoder", "worker", "dimse", "gateway"]
_CT = Path(str(get_testdata_file("CT_small.dcm", download=False)))
_MR = Path(str(get_testdata_file("MR_small.dcm", download=False)))
_CT_UID = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"


@pytest.fixture(scope="module")
def posted(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `post --wait` prints for a folder with a CT and a text file."""
    folder = tmp_path_factory.mktemp("cd")
    (folder / "IMG1").write_bytes(_CT.read_bytes())
    (folder / "README.TXT").write_text("a viewer for Windows")
    done = hulumed("post", folder, "--wait", "--data", platform.data)
    assert done.returncode == 0, done.stderr
    assert "1 not DICOM" in done.stderr
    assert "README.TXT" in done.stderr
    return done.stdout


def _ask(platform: Platform, *arguments: str | Path) -> dict[str, Any]:
    done = hulumed("ask", "What is seen?", *arguments, "--json", "--data", platform.data)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_status_shows_every_room_and_its_weights(platform: Platform) -> None:
    """Three parts of one checkpoint, and all seven rooms ready."""
    told = json.loads(hulumed("status", "--json", "--data", platform.data).stdout)
    assert [room["room"] for room in told["rooms"]] == _ROOMS
    digests = {room["room"]: room["weights_digest"] for room in told["rooms"] if room["weights_digest"]}
    assert digests.keys() == {"encoder", "compressor", "decoder"}
    assert len(set(digests.values())) == 3


def test_a_posted_folder_comes_back_as_a_report(posted: str) -> None:
    """The path of a study, seen from a terminal; untrained weights are never taken for a finding."""
    assert f"study {_CT_UID}: 1 instance stored" in posted
    assert "untrained" in posted
    assert "visual tokens" in posted
    assert all(stage in posted for stage in ("ingest", "encoder", "compressor"))


def test_a_study_is_posted_again_without_harm(platform: Platform, posted: str) -> None:
    """A second copy of a CD changes nothing."""
    assert hulumed("post", _CT, "--data", platform.data).returncode == 0


def test_an_instance_that_is_not_stored_is_not_said_to_be(platform: Platform, posted: str, tmp_path: Path) -> None:
    """Two files under one UID, one of them stored: the other must not pass for it."""
    content = _CT.read_bytes()
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b").write_bytes(content[:-1] + b"!")
    done = hulumed("post", tmp_path, "--data", platform.data)
    assert done.returncode == 1
    assert "another instance is stored under its UID" in done.stderr


def test_a_question_about_a_stored_study(platform: Platform, posted: str) -> None:
    """The answer's provenance leads to the instance."""
    answer = _ask(platform, "--study", _CT_UID, "--window-center", "40", "--window-width", "400")
    (item,) = answer["provenance"]["items"]
    assert item["modality"] == "CT"
    assert len(item["planes"]) == 1
    assert answer["text"]


def test_questions_about_files_of_every_kind(platform: Platform, tmp_path: Path) -> None:
    """An image, a NIfTI volume and a folder of DICOM files in one question are three items, in order of kind."""
    Image.new("RGB", (80, 60), (200, 100, 50)).save(tmp_path / "skin.png")
    voxels = np.random.default_rng(0).integers(0, 255, (40, 50, 8), dtype=np.uint8)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "volume.nii.gz")  # type: ignore[no-untyped-call]
    for superfluous in write_brain(tmp_path / "series")[5:]:
        superfluous.unlink()
    files = ("--image", tmp_path / "skin.png", "--volume", tmp_path / "volume.nii.gz", "--volume", tmp_path / "series")

    items = _ask(platform, *files)["provenance"]["items"]

    assert [item["kind"] for item in items] == ["image", "volume", "volume"]
    assert [len(item["planes"]) for item in items] == [1, 8, 5]


def test_an_answer_is_streamed_with_its_label(platform: Platform) -> None:
    """At a terminal: the text, then what it is worth."""
    done = hulumed("ask", "Hello?", "--data", platform.data)
    assert done.returncode == 0, done.stderr
    assert "untrained" in done.stdout


def test_an_unknown_study_is_said_to_be_unknown(platform: Platform) -> None:
    """The gateway's own words, one line, exit code 1."""
    done = hulumed("ask", "Why?", "--study", "1.2.3.4", "--data", platform.data)
    assert done.returncode == 1
    assert done.stderr.startswith("hulumed: ")
    assert "Traceback" not in done.stderr


def test_a_second_platform_on_the_same_data_is_refused(platform: Platform) -> None:
    """Two supervisors would share a database and a broker."""
    done = hulumed("up", "--data", platform.data, "--http-port", "0")
    assert done.returncode == 1
    assert f"by process {platform.process.pid}" in done.stderr


@pytest.mark.parametrize(("room", "option"), [("gateway", "--http-port"), ("dimse", "--dicom-port")])
def test_a_taken_port_is_named(tmp_path: Path, room: str, option: str) -> None:
    """Before anything starts."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = hulumed("up", "--only", room, "--data", tmp_path, option, str(port))
    assert done.returncode == 1
    assert f"port {port} is taken" in done.stderr
    assert option in done.stderr


def test_a_study_that_is_sent_by_dicom_comes_back_as_a_report(platform: Platform) -> None:
    """The other door: storescu as it is shipped, from this machine, without any setting."""
    port = int(platform.addresses["dimse"].rpartition(":")[2])
    dcmtk("echoscu", port)
    dcmtk("storescu", port, _MR)
    study = str(dcmread(_MR).StudyInstanceUID)

    def state() -> str:
        with urllib.request.urlopen(f"{platform.url}/studies/{study}", timeout=10) as response:
            return str(json.load(response)["state"])

    wait_until(lambda: state() == "reported", "the study is reported", timeout_s=120)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_platform_ends(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, kill and kill -9: no room outlives the command, and nothing is said to run."""
    log = tmp_path / "up.log"
    process = start(tmp_path, "--only", "ingest", log=log)
    wait_until_ready(process, tmp_path, log, rooms=1)
    rooms = psutil.Process(process.pid).children(recursive=True)
    assert rooms

    code = stop(process, number)

    assert code == (-signal.SIGKILL if number is signal.SIGKILL else 0)
    _, alive = psutil.wait_procs(rooms, timeout=60)
    assert not alive
    assert json.loads(hulumed("status", "--json", "--data", tmp_path).stdout) == {"ready": False, "rooms": []}


def test_down_stops_a_platform_started_elsewhere(tmp_path: Path) -> None:
    """`make up` in one terminal, `make down` in another."""
    log = tmp_path / "up.log"
    process = start(tmp_path, "--only", "ingest", log=log)
    wait_until_ready(process, tmp_path, log, rooms=1)
    assert hulumed("down", "--data", tmp_path).stdout.strip() == "stopped ingest"
    assert process.wait(30) == 0


def test_a_room_with_a_wrong_setting_ends_the_start_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user sees which variable is wrong without opening a log."""
    monkeypatch.setenv("HULUMED_INGEST_MAX_TOKENS", "many")
    begun = time.monotonic()
    done = hulumed("up", "--only", "ingest", "--data", tmp_path)
    assert done.returncode == 1
    assert "HULUMED_INGEST_MAX_TOKENS" in done.stderr
    assert time.monotonic() - begun < 100


def test_the_edge_alone_takes_studies_in_without_torch(tmp_path: Path) -> None:
    """A site may receive before it has GPUs: a study is stored and complete, waits for a decoder, and that is told."""
    log = tmp_path / "up.log"
    process = start(tmp_path, "--only", "gateway,dimse,worker", log=log)
    try:
        url = f"http://{wait_until_ready(process, tmp_path, log, rooms=3)['gateway']}"
        assert hulumed("post", _CT, "--data", tmp_path).returncode == 0
        wait_until(lambda: _state(url, _CT_UID) == "complete", "the study is complete", timeout_s=60)
        for room in psutil.Process(process.pid).children(recursive=True):
            assert not [mapped.path for mapped in room.memory_maps() if "libtorch" in mapped.path]
        asked = hulumed("ask", "What is seen?", "--data", tmp_path)
        assert asked.returncode != 0
        assert "decoder" in asked.stderr
        assert _state(url, _CT_UID) == "complete"
    finally:
        stop(process)


def _state(url: str, study_uid: str) -> str:
    with urllib.request.urlopen(f"{url}/studies/{study_uid}", timeout=10) as response:
        return str(json.load(response)["state"])
