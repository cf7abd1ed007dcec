"""Instances that come in at the same time are registered in one transaction, as each commit waits for the disk."""

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.records import InstanceRecord, Registered
from hulumed_platform.storage.studies import Studies

_MAX_AT_ONCE = 64
"""On SQLite other writers wait as long as a transaction takes."""


@dataclass(frozen=True, slots=True)
class _Entry:
    record: InstanceRecord
    done: Future[Registered] = field(default_factory=Future)


class Registrar:
    """Registers instances for many threads. Alone, a thread commits at once; nobody waits for others to come."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = threading.Lock()
        self._waiting: deque[_Entry] = deque()

    def register(self, record: InstanceRecord) -> Registered:
        """See `Studies.register`; committed when this returns.

        Raises:
            PlatformError: UNAVAILABLE when the database cannot be reached.
        """
        entry = _Entry(record)
        self._waiting.append(entry)
        while not entry.done.done():
            with self._turn:  # whoever has it commits for all who wait for it meanwhile
                if not entry.done.done():
                    self._commit(self._taken())
        return entry.done.result()

    def _taken(self) -> list[_Entry]:
        """Those who wait longest, in the order of studies that `Studies.register` asks for."""
        entries = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_AT_ONCE))]
        return sorted(entries, key=lambda entry: entry.record.study_instance_uid)

    def _commit(self, entries: list[_Entry]) -> None:
        try:
            with self._database.session() as session:
                results = [Studies(session).register(entry.record) for entry in entries]
        except PlatformError as error:
            for entry in entries:
                entry.done.set_exception(error)
        except Exception as error:  # noqa: BLE001  it goes to whose record broke the transaction, once that is known
            self._commit_one_by_one(entries, error)
        else:
            for entry, result in zip(entries, results, strict=True):
                entry.done.set_result(result)

    def _commit_one_by_one(self, entries: list[_Entry], error: Exception) -> None:
        if len(entries) == 1:
            entries[0].done.set_exception(error)
            return
        for entry in entries:
            self._commit([entry])
