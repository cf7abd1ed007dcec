"""Every kernel compiles to machine code of the devices it is meant for, though none is at hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_compiles(capability: int, tmp_path: Path) -> None:
    """The interpreter lets pass what the compiler refuses: a constant defined twice, an integer 1 that is no tensor."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    result = subprocess.run(
        [sys.executable, "-m", "tests.kernels.ahead_of_time", str(capability)],
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 120
