"""One room as a child of the supervisor: `python -m hulumed_platform.cli.room hulumed_platform.encoder`.

The child's standard input is a pipe that the supervisor holds open and never writes to. It closes when the supervisor
ends, however that happens, and the room then drains and leaves: nothing outlives a supervisor that was killed.
"""

import os
import runpy
import signal
import sys
import threading
import time

DRAIN_VARIABLE = "HULUMED_CLI_DRAIN_S"
"""Seconds a room has to leave by itself once its supervisor is gone."""


def _leave_with_supervisor() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(float(os.environ[DRAIN_VARIABLE]))
    os.killpg(0, signal.SIGKILL)  # the room leads a process group of its own, see cli.process


def main() -> None:
    """Run the module named by the first argument as its own `python -m` would."""
    threading.Thread(target=_leave_with_supervisor, name="lifeline", daemon=True).start()
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
