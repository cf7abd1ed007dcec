import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hulumed_platform.cli.main import app

_COMMANDS = ("up", "down", "status", "post", "ask", "demo", "model", "rules")


def _run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_help_lists_the_commands_without_the_heavy_libraries() -> None:
    """`hulumed --help` must answer at once, also where torch takes ten seconds to import."""
    program = (
        "import sys; from hulumed_platform.cli.main import app\n"
        "try: app(['--help'], prog_name='hulumed')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pydicom', 'grpc', 'sqlalchemy', 'httpx'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in _COMMANDS)


@pytest.mark.parametrize("command", ["status", "post", "ask"])
def test_without_a_platform_a_command_says_how_to_start_one(command: str, tmp_path: Path) -> None:
    """The most common mistake of all has an answer, not a traceback."""
    file = tmp_path / "file.dcm"
    file.write_bytes(bytes(128) + b"DICM")
    arguments: dict[str, list[str | Path]] = {"status": [], "post": [file], "ask": ["Why?"]}
    code, out, err = _run(command, *arguments[command], "--data", tmp_path)
    assert code == 1
    assert "runs on" in out + err or "no DICOM file" in err
    assert "Traceback" not in out + err


def test_a_room_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """A typing error in --only lists what there is."""
    code, _, err = _run("up", "--only", "encoder,decodr", "--data", tmp_path)
    assert code == 1
    assert "decodr" in err
    assert "ingest, encoder, compressor, decoder, worker, dimse, gateway" in err


def test_a_room_without_the_one_it_asks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--only decoder` alone cannot work; the message names both ways out."""
    monkeypatch.delenv("HULUMED_DECODER_COMPRESSOR_ADDRESS", raising=False)
    (tmp_path / "checkpoint").mkdir()
    code, _, err = _run("up", "--only", "decoder", "--data", tmp_path)
    assert code == 1
    assert "decoder asks compressor" in err
    assert "HULUMED_DECODER_COMPRESSOR_ADDRESS" in err


def test_down_with_nothing_to_stop_is_no_error(tmp_path: Path) -> None:
    """`make down` may be called twice."""
    assert _run("down", "--data", tmp_path)[0] == 0


def test_the_module_is_the_command(tmp_path: Path) -> None:
    """The supervisor calls itself by `python -m hulumed_platform.cli`."""
    command = [sys.executable, "-m", "hulumed_platform.cli", "status", "--data", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 1
    assert '"ready": false' in done.stdout
