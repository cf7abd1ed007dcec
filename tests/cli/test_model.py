import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from hulumed_platform.cli.main import app

_GOLDENS = Path(__file__).parents[1] / "data" / "goldens"


def _run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["model", *(str(argument) for argument in arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.stdout, result.stderr


def _json(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
    code, out, _ = _run(*arguments, "--json")
    return code, json.loads(out)


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return Path(shutil.copytree(_GOLDENS / "q2", tmp_path / "q2"))


def _change(golden: Path, name: str, add: float) -> None:
    tensors = load_file(golden / "golden.safetensors")
    tensors[name] = tensors[name] + add
    save_file(tensors, golden / "golden.safetensors")


def test_parity_of_the_published_code_passes() -> None:
    """Three cases, all equal, exit code 0."""
    code, out, _ = _run("parity", _GOLDENS / "q3")
    assert code == 0
    assert out.count("equal") == 3 * 3
    assert all(case in out for case in ("image", "volume", "video"))


def test_a_difference_is_shown_and_exits_with_1(golden: Path) -> None:
    """A script that checks a new checkpoint needs nothing but the exit code."""
    _change(golden, "video.encoder_out", 0.5)
    code, told = _json("parity", golden)
    assert code == 1
    assert not told["passed"]
    differing = {case["case"]: case for case in told["cases"] if not case["passed"]}
    assert differing.keys() == {"video"}
    assert differing["video"]["features"] == {"largest": pytest.approx(0.5, rel=1e-3), "within_tolerance": False}
    assert _run("parity", golden)[0] == 1


def test_an_incomplete_record_is_told_and_exits_with_1(golden: Path) -> None:
    """All that was compared agrees, and yet the case proves less than a script would take it for."""
    tensors = load_file(golden / "golden.safetensors")
    del tensors["video.logits"]
    save_file(tensors, golden / "golden.safetensors")
    code, out, _ = _run("parity", golden)
    assert code == 1
    assert "INCOMPLETE" in out
    assert "not recorded: video.logits" in out
    code, told = _json("parity", golden)
    assert (code, told["passed"]) == (1, False)
    assert [case["not_recorded"] for case in told["cases"]] == [[], ["logits"], []]


def test_numbers_that_json_lacks_become_null(golden: Path) -> None:
    """A NaN in a record differs, and the output stays JSON."""
    _change(golden, "image.logits", float("nan"))
    code, told = _json("parity", golden)
    assert code == 1
    assert told["cases"][0]["logits"] == {"largest": None, "within_tolerance": False}


def test_inspect_names_what_is_missing(golden: Path) -> None:
    """Someone with half a download learns which half."""
    weights = load_file(golden / "model.safetensors")
    name = next(name for name in sorted(weights) if name.endswith("q_proj.weight"))
    save_file({key: value for key, value in weights.items() if key != name}, golden / "model.safetensors")
    code, told = _json("inspect", golden)
    assert code == 0
    assert not told["complete"]
    assert told["digests"] is None
    decoder = next(part for part in told["parts"] if part["part"] == "decoder")
    assert decoder["differences"]["missing"] == [name]
    assert name in _run("inspect", golden)[1]


def test_a_folder_that_is_no_checkpoint_is_said_to_be_none(tmp_path: Path) -> None:
    """One line, exit code 1, no traceback."""
    for command in ("inspect", "parity"):
        code, _, err = _run(command, tmp_path)
        assert code == 1
        assert str(tmp_path) in err


def test_an_untrained_checkpoint_is_complete_and_labelled(tmp_path: Path) -> None:
    """What `up` serves by default can be looked into like any other, and says what it is."""
    assert _run("untrained", tmp_path / "checkpoint", "--seed", "7")[0] == 0
    code, told = _json("inspect", tmp_path / "checkpoint")
    assert (code, told["complete"], told["trained"], told["label"]) == (0, True, False, "untrained")
    assert told["digests"]["checkpoint"].startswith("sha256:")
    assert "untrained" in _run("inspect", tmp_path / "checkpoint")[1]


def test_an_untrained_checkpoint_overwrites_nothing(tmp_path: Path) -> None:
    """A folder with anything in it may be somebody's weights."""
    (tmp_path / "config.json").write_text("{}")
    code, _, err = _run("untrained", tmp_path)
    assert code == 1
    assert "not empty" in err
