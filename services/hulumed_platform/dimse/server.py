"""The dimse room, put together."""

import logging
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pynetdicom import AE, _config, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made when imported

from hulumed_platform.archive.intake import Intake
from hulumed_platform.archive.registration import Registration
from hulumed_platform.core import metrics as core_metrics
from hulumed_platform.core.errors import PlatformError
from hulumed_platform.core.periodic import Periodic
from hulumed_platform.core.probes import serve_probes
from hulumed_platform.core.settings import SettingsError
from hulumed_platform.core.signals import StopSignals
from hulumed_platform.core.telemetry import configure_telemetry, flush_traces
from hulumed_platform.dimse import metrics, tls
from hulumed_platform.dimse.admission import Admission
from hulumed_platform.dimse.commitment import CommitmentDesk
from hulumed_platform.dimse.dialling import Dialler, DiallingEntity, configure
from hulumed_platform.dimse.disk import Disks
from hulumed_platform.dimse.listener import Listener
from hulumed_platform.dimse.peers import Peers
from hulumed_platform.dimse.receiving import Spool
from hulumed_platform.dimse.reporting import Reporter, ReportRule
from hulumed_platform.dimse.settings import DimseSettings
from hulumed_platform.dimse.storing import Storer
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.storage.settings import open_database, open_objects

ROOM = "dimse"

log = logging.getLogger(__name__)

_POLL_S = 0.05
_ABORT_S = 2.0
"""Longer than it takes to tell a peer that is there."""


def main() -> None:
    """Run the room until SIGTERM; exits with 2 where the settings are wrong, with 1 where it cannot start."""
    try:
        settings = DimseSettings.from_environment()
        configure_telemetry(ROOM, settings)
        threading.excepthook = _log_thread
        signals = StopSignals()
        with open_room(settings):
            signals.wait()
    except SettingsError as error:
        _leave(str(error), 2)
    except PlatformError as error:
        _leave(error.message, 1)
    finally:
        flush_traces()


@contextmanager
def open_room(settings: DimseSettings) -> Iterator[Listener]:
    """Serve while the block runs; at its end running associations may end, those that take too long are aborted.

    Raises:
        SettingsError: A file or an address of the settings is wrong.
        PlatformError: The database is away or has another schema than this version's.
    """
    _keep_libraries_quiet()
    peers = Peers.load(settings.peers_file)
    with ExitStack() as stack:
        database = stack.enter_context(closing(open_database(settings)))
        database.require_current_schema()
        objects = open_objects(settings)
        disks = Disks(_folders(settings), max_used=settings.max_disk_used)
        reporter = Reporter(objects, database, settings.tenant, dial=_dialler(settings, peers), rule=_rule(settings))
        stack.callback(reporter.stop)
        storer = Storer(_intake(settings, objects, database), disks, settings.ae_title)
        desk = CommitmentDesk(database, settings.tenant, reporter.report_soon)
        admission = Admission(peers, ae_title=settings.ae_title, private_classes=settings.private_classes)
        listener = Listener(
            configure(AE(settings.ae_title), settings),
            (settings.host, settings.port),
            [build_context(Verification)],
            [*admission.handlers(), (evt.EVT_C_STORE, storer.on_c_store), (evt.EVT_N_ACTION, desk.on_n_action)],
            lets_in=peers.knows,
            max_connections=2 * settings.max_associations,  # so that those beyond the limit can be told of it
            spool=Spool(settings.scratch_dir, settings.max_instance_bytes, disks),
            tls=tls.server_context(settings),
        )
        metrics.ASSOCIATIONS_ACTIVE.set_function(lambda: listener.num_connections)
        metrics.DISK_USED.set_function(disks.used)
        checks = {"database": database.check, "objects": objects.check}
        stack.enter_context(serve_probes(settings.host, settings.probes_port, checks))
        stack.enter_context(_draining(listener, admission, settings.drain_timeout_s))
        stack.enter_context(listener.serving())
        stack.enter_context(Periodic("reports", reporter.sweep, settings.report_interval_s))
        core_metrics.READY.set(1)
        log.info("ready", extra={"port": listener.port, "tls": listener.tls is not None})
        yield listener
        core_metrics.READY.set(0)


@contextmanager
def _draining(listener: Listener, admission: Admission, timeout_s: float) -> Iterator[None]:
    """At the end of the block let no one in, wait for running associations, and abort those that take too long."""
    try:
        yield
    finally:
        admission.close()
        deadline = time.monotonic() + timeout_s
        while listener.num_connections and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        left = listener.active_associations
        aborting = [threading.Thread(target=association.abort, daemon=True) for association in left]
        for thread in aborting:
            thread.start()
        for thread in aborting:
            thread.join(_ABORT_S)
        log.info("drained", extra={"aborted": len(left)})


def _intake(settings: DimseSettings, objects: ObjectStore, database: Database) -> Intake:
    return Intake(
        objects,
        Registration(database),
        tenant=settings.tenant,
        max_instance_bytes=settings.max_instance_bytes,
        scratch_dir=settings.scratch_dir,
    )


def _dialler(settings: DimseSettings, peers: Peers) -> Dialler:
    context = tls.client_context(settings) if peers.report_by_tls else None
    return Dialler(configure(DiallingEntity(settings.ae_title), settings), peers, context)


def _rule(settings: DimseSettings) -> ReportRule:
    return ReportRule(settings.report_retry_after_s, settings.report_max_retry_after_s, settings.report_give_up_after_s)


def _folders(settings: DimseSettings) -> Iterator[Path]:
    """Whose disks instances go to."""
    yield settings.scratch_dir or Path(tempfile.gettempdir())
    url = urlsplit(settings.objects_url)
    if url.scheme == "file":
        yield Path(unquote(url.path))


def _keep_libraries_quiet() -> None:
    """Their messages quote data sets, which are a patient's; what an operator needs to know we log ourselves."""
    for name in ("pydicom", "pynetdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        warnings.filterwarnings("ignore", module=rf"{name}\..*")
    _config.LOG_HANDLER_LEVEL = "none"


def _log_thread(arguments: threading.ExceptHookArgs) -> None:
    """The library's threads end by exceptions when peers break the protocol."""
    log.warning("a thread ended: %s", arguments.exc_type.__name__)


def _leave(message: str, exit_code: int) -> None:
    print(f"{ROOM}: {message}", file=sys.stderr)  # noqa: T201 - the last word of a process
    sys.exit(exit_code)
