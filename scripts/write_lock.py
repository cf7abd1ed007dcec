"""Print requirements.lock: every distribution installed beside this interpreter, at its version."""

import re
import sys
from importlib.metadata import distributions

HEADER = """\
# What `make setup` installs, version by version; `make lock` writes it from a .venv that passed the tests.
#
# It is a pip constraints file (`pip install --constraint requirements.lock`): it decides versions, pyproject.toml
# decides what is installed. It names no index, so a mirror works; and no build of torch, so that PyPI's CUDA build and
# the smaller CPU build (offer it to pip by PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL) both satisfy it. The packages that
# only the CUDA build needs are pinned by torch itself.
"""

LEFT_OUT = {"pip", "hulumed-platform"}


def pins() -> list[str]:
    """`name==version` lines in order of the normalised name, without local versions such as `+cpu`."""
    versions = {
        re.sub(r"[-_.]+", "-", distribution.name).lower(): distribution.version.partition("+")[0]
        for distribution in distributions()
    }
    return [f"{name}=={version}" for name, version in sorted(versions.items()) if name not in LEFT_OUT]


if __name__ == "__main__":
    sys.stdout.write(HEADER + "\n".join(pins()) + "\n")
