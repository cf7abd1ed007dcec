"""The house: what the documents say of the rooms is what stands on disk, and light rooms stay light."""

import filecmp
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "services" / "hulumed_platform"
GENERATED = PACKAGE / "rpc" / "v1"


def rooms_on_disk() -> set[str]:
    """What `python -m` starts, except the command line: it starts rooms and is none."""
    return {path.parent.name for path in PACKAGE.glob("*/__main__.py")} - {"cli"}


def test_every_room_has_its_image_and_its_row() -> None:
    """A room without image cannot be deployed, a row without room misleads: the three lists are one."""
    dockerfile = (ROOT / "services" / "Dockerfile").read_text()
    images = set(re.findall(r"^FROM runtime AS (\S+)$", dockerfile, re.MULTILINE))
    table = (ROOT / "services" / "README.md").read_text()
    rows = set(re.findall(r"^\| (\w+) \|", table, re.MULTILINE)) - {"room"}
    assert rooms_on_disk() == images == rows


def test_rooms_have_the_same_inner_shape() -> None:
    """Who knows one room finds the way in every other."""
    for room in rooms_on_disk():
        names = {path.name for path in (PACKAGE / room).iterdir()}
        assert {"__main__.py", "server.py", "settings.py"} <= names, room


def test_generated_protobuf_code_is_current(tmp_path: Path) -> None:
    """The committed code is what `make proto` writes; an edit of a .proto without it would ship old messages."""
    spec = importlib.util.spec_from_file_location("generate_proto", ROOT / "scripts" / "generate_proto.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.generate(tmp_path)
    fresh = tmp_path / "hulumed_platform" / "rpc" / "v1"
    names = sorted(path.name for path in fresh.iterdir())
    assert names == sorted(path.name for path in GENERATED.glob("*_pb2*"))
    _, differing, unreadable = filecmp.cmpfiles(fresh, GENERATED, names, shallow=False)
    assert not differing + unreadable, "run `make proto`"


BLOCKED = """
import importlib, sys
for name in {blocked!r}:
    sys.modules[name] = None
for name in {modules!r}:
    importlib.import_module(name)
"""


@pytest.mark.parametrize(
    ("package", "blocked"),
    [
        ("gateway", ["torch", "transformers", "av", "nibabel", "PIL"]),
        ("dimse", ["torch", "transformers", "av", "nibabel", "PIL"]),
        ("worker", ["torch", "transformers", "av", "nibabel", "PIL"]),
        ("ingest", ["torch", "transformers"]),
        ("imaging", ["torch", "transformers"]),
        ("storage", ["torch", "transformers"]),
    ],
)
def test_light_rooms_import_without_torch(package: str, blocked: list[str]) -> None:
    """Their images do not have it: one stray import would fail at the start of a pod."""
    modules = [
        ".".join(path.relative_to(ROOT / "services").with_suffix("").parts)
        for path in sorted((PACKAGE / package).rglob("*.py"))
        if path.name not in ("__main__.py", "env.py") and "versions" not in path.parts
    ]
    code = BLOCKED.format(blocked=blocked, modules=modules)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
