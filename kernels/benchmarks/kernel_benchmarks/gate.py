"""No speed of a wrong result is worth anything: the tests of the kernels come first."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[3] / "tests" / "kernels"


def is_green(tests: Path = TESTS) -> bool:
    """Runs the tests of the kernels on the device at hand, in a process of their own; they print what fails."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", str(tests)]
    return subprocess.run(command, cwd=TESTS.parents[1], check=False).returncode == 0
