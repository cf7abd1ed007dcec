"""A room that does nothing but live and die as it is told; run as `python -m tests.support.fake_room`.

`FAKE_READY` is the file it writes once it is ready, `FAKE_FAILS` a message to fail with, `FAKE_STUBBORN` makes it and a
process that it starts deaf to SIGTERM.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path


def main() -> None:
    if message := os.environ.get("FAKE_FAILS"):
        sys.exit(message)
    if "FAKE_STUBBORN" in os.environ:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sleep", "600"])
    Path(os.environ["FAKE_READY"]).write_text(str(os.getpid()))
    threading.Event().wait()


if __name__ == "__main__":
    main()
