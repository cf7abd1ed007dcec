"""The room as a process of its own, as `python -m hulumed_platform.dimse` runs it."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from hulumed_platform.dimse.settings import DimseSettings
from tests.support.dimse import Archive, associated, encoded, send
from tests.support.processes import free_ports, running
from tests.support.study_desk import wait_until

pytestmark = pytest.mark.slow

EXPLICIT = str(ExplicitVRLittleEndian)
CONTEXTS = [(CTImageStorage, [EXPLICIT])]


@contextmanager
def room(archive: Archive, **changes: Any) -> Iterator[tuple[subprocess.Popen[bytes], DimseSettings]]:
    """Run the room until the block ends. A warning is an error in it, as it is in the tests."""
    port, probes_port, metrics_port = free_ports(3)
    settings = archive.settings(port=port, probes_port=probes_port, metrics_port=metrics_port, **changes)
    log = archive.folder / "dimse.log"
    environment = {**os.environ, **settings.as_environment()}
    command = [sys.executable, "-W", "error", "-m", "hulumed_platform.dimse"]
    with running(command, log=log, environment=environment) as process:
        wait_until(lambda: get(probes_port, "/readyz")[0] == 200, "the room is ready", timeout_s=60)
        yield process, settings


def listens(port: int) -> bool:
    """Whether a connection to the port is taken."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def get(port: int, path: str) -> tuple[int, str]:
    """GET a path; status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def test_metrics_tell_what_came(archive: Archive) -> None:
    """Associations, instances by status, bytes, seconds; no title, no UID."""
    instance = encoded(EXPLICIT)
    with room(archive) as (_, settings):
        with associated(settings.port, CONTEXTS) as association:
            assert send(association, instance) == 0x0000
            assert send(association, instance[:-100]) == 0xC000
            told = get(settings.metrics_port, "/metrics")[1]
        assert "hulumed_dimse_associations_active 1.0" in told
        assert 'hulumed_dimse_instances_total{status="0000"} 1.0' in told
        assert 'hulumed_dimse_instances_total{status="C000"} 1.0' in told
        assert f"hulumed_dimse_bytes_total {float(archive.instances()[0].size_bytes)}" in told
        assert "hulumed_dimse_store_seconds_count 2.0" in told
        assert "MODALITY" not in told


def test_sigterm_lets_an_association_end(archive: Archive) -> None:
    """An update of the room in the middle of a study."""
    with room(archive, drain_timeout_s=20) as (process, settings):
        with associated(settings.port, CONTEXTS) as association:
            assert send(association, encoded(EXPLICIT)) == 0x0000
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: not listens(settings.port), "nobody is let in")
            assert send(association, encoded(EXPLICIT)) == 0x0000
        assert process.wait(20) == 0
    assert len(archive.instances()) == 2


def test_what_was_acknowledged_outlives_a_kill(archive: Archive) -> None:
    """kill -9 right after the answer: the instance is there, and sent again it is the same one."""
    instance = encoded(EXPLICIT)
    with room(archive) as (process, settings), associated(settings.port, CONTEXTS) as association:
        assert send(association, instance) == 0x0000
        process.kill()
        process.wait(10)
        wait_until(lambda: not association.is_established, "the sender notices")
    assert len(archive.instances()) == 1
    with room(archive) as (_, settings), associated(settings.port, CONTEXTS) as association:
        assert send(association, instance) == 0x0000
    assert len(archive.instances()) == 1


def test_logs_are_lines_of_json_without_patients(archive: Archive) -> None:
    """At the most talkative level, with good and bad peers; exceptions of the library's threads, too."""
    with room(archive, log_level="DEBUG") as (_, settings):
        with associated(settings.port, CONTEXTS) as association:
            send(association, encoded(EXPLICIT))
            send(association, encoded(EXPLICIT)[:-50])
        with associated(settings.port, CONTEXTS) as association:
            association.abort()
    lines = (archive.folder / "dimse.log").read_text().splitlines()
    assert {json.loads(line)["room"] for line in lines} == {"dimse"}
    assert "JANE" not in "".join(lines)


def test_a_wrong_setting_is_the_last_word(archive: Archive) -> None:
    """Exit code 2, one line, the variable's name."""
    settings = archive.settings(ae_title="HULUMED")
    environment = {**os.environ, **settings.as_environment(), "HULUMED_DIMSE_AE_TITLE": "MORE THAN SIXTEEN LETTERS"}
    done = subprocess.run(
        [sys.executable, "-m", "hulumed_platform.dimse"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "HULUMED_DIMSE_AE_TITLE" in done.stderr
    assert len(done.stderr.splitlines()) == 1
