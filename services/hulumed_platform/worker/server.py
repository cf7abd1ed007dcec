"""The worker room, put together."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from uuid import uuid4

from hulumed_platform.archive.rules.builtin import builtin_rules
from hulumed_platform.archive.rules.chosen import ChosenRule
from hulumed_platform.archive.rules.load import RulesError, RuleSet, read_rules
from hulumed_platform.archive.rules.reload import LiveRules
from hulumed_platform.archive.rules.schema import Prompt
from hulumed_platform.core import metrics
from hulumed_platform.core.errors import PlatformError
from hulumed_platform.core.periodic import Periodic
from hulumed_platform.core.probes import serve_probes
from hulumed_platform.core.settings import SettingsError
from hulumed_platform.core.telemetry import configure_telemetry, flush_traces
from hulumed_platform.rpc.clients import DecoderClient, open_channel
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.storage.settings import open_database, open_objects
from hulumed_platform.worker import tasks
from hulumed_platform.worker.broker import open_broker
from hulumed_platform.worker.completing import Completing
from hulumed_platform.worker.consumer import Consumer
from hulumed_platform.worker.letting_go import LettingGo
from hulumed_platform.worker.missing_objects import MissingObjects
from hulumed_platform.worker.priors import PriorFinder
from hulumed_platform.worker.reporting import Reporter
from hulumed_platform.worker.settings import WorkerSettings
from hulumed_platform.worker.study_workflow import RetryRule, StudyWorkflow
from hulumed_platform.worker.sweeper import MAX_SENT, Sweeper

ROOM = "worker"


def main() -> None:
    """Run the room until SIGTERM; exits with 2 where the settings are wrong, with 1 where it cannot start."""
    try:
        settings = WorkerSettings.from_environment()
        configure_telemetry(ROOM, settings)
        run(settings)
    except SettingsError as error:
        _leave(str(error), 2)
    except PlatformError as error:
        _leave(error.message, 1)


def run(settings: WorkerSettings) -> None:
    """Work on studies until SIGTERM.

    Raises:
        SettingsError: The rules file has faults, or a store's settings are wrong.
        PlatformError: UNAVAILABLE where the database has the schema of another version, or cannot be reached.
    """
    rules = open_rules(settings)
    objects = open_objects(settings)
    app = open_broker(settings)
    with ExitStack() as stack:
        database = stack.enter_context(closing(open_database(settings)))
        database.require_current_schema()
        decoder = DecoderClient(stack.enter_context(open_channel(settings.decoder_address)))
        priors = PriorFinder(database, objects, lambda: rules.rules.peers)
        workflow = _workflow(settings, database, objects, decoder, priors)
        send = tasks.register(app, workflow.run)
        max_sent = MAX_SENT if settings.decoder_address else 0
        completing = Completing(database, rules)
        sweeper = Sweeper(database, send, completing, pickup_s=settings.pickup_s, max_sent=max_sent)
        letting_go = LettingGo(database, objects, settings.tenant, settings.orphan_age_s)
        missing = MissingObjects(database, objects, settings.tenant)
        consumer = Consumer(app)
        sweeps = stack.enter_context(Periodic("sweep", sweeper.sweep, settings.sweep_interval_s))
        stack.enter_context(Periodic("retention", letting_go.let_go, settings.retention_interval_s))
        stack.enter_context(Periodic("missing objects", missing.look, settings.retention_interval_s))
        checks = {
            "broker": consumer.check,
            "database": database.check,
            "objects": objects.check,
            "rules": rules.check,
            "sweep": sweeps.check,
        }
        stack.enter_context(serve_probes(settings.host, settings.port, checks))
        with _draining(consumer, sweeps, workflow, settings.drain_timeout_s):
            consumer.run()
    flush_traces()


def open_rules(settings: WorkerSettings) -> LiveRules:
    """The rules of the file, or the built-in one.

    Raises:
        SettingsError: The file cannot be read or has faults; there are no rules before it that could count on.
    """
    if settings.rules_file is None:
        return LiveRules(_builtin_rules(settings))
    try:
        return LiveRules(read_rules(settings.rules_file), settings.rules_file)
    except RulesError as error:
        raise SettingsError(f"rules_file: {settings.rules_file}: {error}") from error


def _builtin_rules(settings: WorkerSettings) -> RuleSet:
    prompt = Prompt(
        text=settings.report_prompt, system=settings.report_system_prompt, max_new_tokens=settings.max_new_tokens
    )
    return builtin_rules(prompt, quiet_s=settings.quiet_s)


def _builtin(settings: WorkerSettings) -> ChosenRule:
    rules = _builtin_rules(settings)
    return ChosenRule(rules.rules[0], rules.digest)


def _workflow(
    settings: WorkerSettings, database: Database, objects: ObjectStore, decoder: DecoderClient, priors: PriorFinder
) -> StudyWorkflow:
    reporter = Reporter(
        database,
        objects,
        decoder,
        fallback=_builtin(settings),
        priors=priors,
        plan_timeout_s=settings.plan_timeout_s,
        report_timeout_s=settings.report_timeout_s,
    )
    retry = RetryRule(settings.max_attempts, settings.retry_after_s, settings.max_retry_after_s)
    return StudyWorkflow(database, reporter, retry, owner=_own_name(), lease_s=settings.lease_s)


@contextmanager
def _draining(consumer: Consumer, sweeps: Periodic, workflow: StudyWorkflow, timeout_s: float) -> Iterator[None]:
    """On SIGTERM take and send no more studies; those that are not done after `timeout_s` are given back."""
    stopping, done = threading.Event(), threading.Event()

    def stop(*_: object) -> None:
        consumer.stop()
        sweeps.stop()
        stopping.set()

    def drain() -> None:
        stopping.wait()
        metrics.READY.set(0)
        if not done.wait(timeout_s):
            workflow.give_up()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    threading.Thread(target=drain, name="drain", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _own_name() -> str:
    """Names this process in leases; another one on the same host never has the same name."""
    return f"{socket.gethostname()[:128]}:{os.getpid()}:{uuid4().hex[:8]}"


def _leave(message: str, exit_code: int) -> None:
    print(f"{ROOM}: {message}", file=sys.stderr)  # noqa: T201 - the last word of a process
    sys.exit(exit_code)
