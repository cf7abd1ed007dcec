"""`hulumed rules`: faults with their lines, and a dry run on files, a data folder and a gateway."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner

from hulumed_platform.archive.intake import Intake
from hulumed_platform.archive.registration import Registration
from hulumed_platform.cli.main import app
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.local import LocalObjects
from tests.gateway.dicom import instance

STUDY = "1.2.826.0.1.3680043.8.498.70"
RULES = """\
completion: {force_s: 900}
rules:
  - name: mammography
    when: Modality == 'MG'
    prompt: {text: Report the breasts.}
  - name: thin-ct
    when: any_series(Modality == 'CT' and SliceThickness < 3)
    series: not ImageType == 'LOCALIZER'
    prompt: {text: Report the chest., system: Be brief.}
    window: {center: 40, width: 400}
    priors: {count: 1}
    deidentify: basic
    destinations: [pacs]
    completion: {required_series: ["ImageType == 'AXIAL'", "Modality == 'PR'"], on_force: fail}
"""
AXIAL = {"SeriesInstanceUID": f"{STUDY}.1", "SliceThickness": "1.5", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}
LOCALIZER = {"SeriesInstanceUID": f"{STUDY}.2", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
EXPECTED = f"""\
mammography does not match:
    Modality == 'MG': Modality is 'CT'
thin-ct matches: any_series(Modality == 'CT' and SliceThickness < 3)
  series to the model (1 of 2):
    {STUDY}.1 CT (1 instances)
  series left out:
    {STUDY}.2 CT (1 instances); not ImageType == 'LOCALIZER': it is so
  complete: series quiet for 60 s, study for 60 s
  required series: ImageType == 'AXIAL' (there)
  required series: Modality == 'PR' (missing)
  by force: 900 s after the first image; then fail
  system: Be brief.
  prompt: Report the chest.
  answer: at most 1024 tokens
  window: center 40, width 400
  priors: 1 at most from local, within 1825 days, same modality; skip when it does not answer
  priority: 0
  not carried out yet: deidentify basic and destinations pacs
"""


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    """A file of two rules."""
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return file


@pytest.fixture
def images() -> list[bytes]:
    """A study of an axial series and its localizer."""
    return [instance(StudyInstanceUID=STUDY, **attributes) for attributes in (AXIAL, LOCALIZER)]


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["rules", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def without_digest(output: str) -> str:
    first, rest = output.split("\n", 1)
    assert first.startswith("rules sha256:")
    return rest


def test_check_tells_every_fault_with_file_and_line(rules_file: Path, tmp_path: Path) -> None:
    """As compilers do, so that editors jump there; a good file is named with its digest."""
    code, out, err = run("check", rules_file)
    assert (code, "2 rules, sha256:" in out) == (0, True)
    assert "thin-ct names deidentify basic and destinations pacs, which is not carried out yet" in err
    rules_file.write_text(RULES.replace("'MG'", "3").replace("thin-ct", "thin ct"))
    code, _, err = run("check", rules_file)
    assert code == 1
    assert f"{rules_file}:4: rules.1.when: column 13" in err
    assert f"{rules_file}:6: rules.2.name" in err
    assert run("check", tmp_path / "none.yaml")[0] == 1


def test_a_study_in_files(rules_file: Path, images: list[bytes], tmp_path: Path) -> None:
    """Before anything is posted one can see what would become of it."""
    folder = tmp_path / "study"
    folder.mkdir()
    for number, image in enumerate(images):
        (folder / f"{number}.dcm").write_bytes(image)
    (folder / "notes.txt").write_text("not DICOM")
    code, out, _ = run("test", folder, "--rules", rules_file)
    assert (code, without_digest(out)) == (0, EXPECTED)


def test_a_study_in_a_data_folder(rules_file: Path, images: list[bytes], tmp_path: Path) -> None:
    """The same answer from SQL, where the study is known by its UID; an unknown one is named as such."""
    database = Database(f"sqlite:///{tmp_path / 'hulumed.sqlite'}")
    database.migrate()
    intake = Intake(
        LocalObjects(tmp_path / "objects"), Registration(database), tenant="default", max_instance_bytes=10**6
    )
    for image in images:
        assert intake.store(io.BytesIO(image)).failure_reason is None
    database.close()
    code, out, _ = run("test", STUDY, "--rules", rules_file, "--data", tmp_path)
    assert (code, without_digest(out)) == (0, EXPECTED)
    code, _, err = run("test", "1.2.3", "--data", tmp_path)
    assert (code, "No such study" in err) == (1, True)
    assert "there is no platform on" in run("test", "1.2.3", "--data", tmp_path / "none")[2]


@contextmanager
def archive(images: list[bytes]) -> Iterator[str]:
    """An archive that answers with the metadata of a study, as PS3.18, section 10.4, wants it."""
    metadata = [pydicom.dcmread(io.BytesIO(image), stop_before_pixels=True).to_json_dict() for image in images]

    class Wado(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == f"/dicom-web/studies/{STUDY}/metadata"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(metadata).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Wado) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_study_of_a_platform_elsewhere(rules_file: Path, images: list[bytes]) -> None:
    """The same answer from DICOMweb metadata."""
    with archive(images) as url:
        code, out, _ = run("test", STUDY, "--rules", rules_file, "--url", url)
    assert (code, without_digest(out)) == (0, EXPECTED)


def test_a_study_that_no_rule_is_for(rules_file: Path, tmp_path: Path) -> None:
    """It goes nowhere; the dry run says so, with every reason, and a script can tell by the exit code."""
    file = tmp_path / "mr.dcm"
    file.write_bytes(instance(Modality="MR"))
    code, out, _ = run("test", file, "--rules", rules_file)
    assert code == 1
    assert "Modality == 'MG': Modality is 'MR'" in out
    assert "no rule matches: the study goes nowhere, and its state will be unmatched" in out


def test_without_a_file_the_built_in_rule(tmp_path: Path) -> None:
    """What a platform without rules does with every study."""
    file = tmp_path / "mr.dcm"
    file.write_bytes(instance(Modality="MR"))
    code, out, _ = run("test", file)
    assert code == 0
    assert "built-in matches: True" in out
    assert "complete: series quiet for 30 s" in out
