import json
import subprocess
import sys
from pathlib import Path

import pytest

from hulumed_platform.cli.errors import CliError
from hulumed_platform.cli.state import RunFolder, RunningRoom

_ROOM = RunningRoom("gateway", "127.0.0.1:8080", "127.0.0.1:8080", 4711, 4710)


def test_a_claimed_room_is_seen_and_let_go(tmp_path: Path) -> None:
    """What `status`, `post` and `ask` find is exactly what is watched now."""
    folder = RunFolder(tmp_path)
    with folder.claimed(["gateway"]):
        folder.write(_ROOM)
        assert folder.rooms() == {"gateway": _ROOM}
    assert folder.rooms() == {}


def test_the_second_to_claim_a_room_is_told_who_has_it(tmp_path: Path) -> None:
    """Two platforms on one data folder would share a database and a broker."""
    folder = RunFolder(tmp_path)
    with folder.claimed(["gateway", "worker"]):
        folder.write(_ROOM)
        with (
            pytest.raises(CliError, match=r"gateway .* by process 4710.*hulumed down"),
            RunFolder(tmp_path).claimed(["gateway"]),
        ):
            pass
        with RunFolder(tmp_path).claimed(["encoder"]):
            pass


def test_a_state_left_by_a_killed_supervisor_counts_for_nothing(tmp_path: Path) -> None:
    """Files outlive a kill -9, locks do not."""
    program = (
        "import os, signal, sys; from pathlib import Path; from hulumed_platform.cli.state import *\n"
        "folder = RunFolder(Path(sys.argv[1]))\n"
        "with folder.claimed(['gateway']):\n"
        "    folder.write(RunningRoom('gateway', '127.0.0.1:8080', '127.0.0.1:8080', 4711, 4710))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert json.loads((tmp_path / "run" / "gateway.json").read_text())["pid"] == 4711
    assert RunFolder(tmp_path).rooms() == {}
    with RunFolder(tmp_path).claimed(["gateway"]):
        pass


def test_a_folder_without_a_platform_has_no_rooms(tmp_path: Path) -> None:
    """`status` on a new folder answers, it does not fail."""
    assert RunFolder(tmp_path / "none").rooms() == {}
