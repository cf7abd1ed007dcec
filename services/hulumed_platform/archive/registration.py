"""Rows of instances that arrive at the same time are committed together: it is the commit that costs, not the row."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.records import InstanceRecord, Registered
from hulumed_platform.storage.studies import Studies

MAX_ROWS = 250
"""Of one transaction: what others wait for on SQLite, where one writes at a time."""


@dataclass(slots=True, eq=False)
class _Batch:
    """What one caller waits for."""

    records: Sequence[InstanceRecord]
    registered: list[Registered] = field(default_factory=list)
    error: Exception | None = None
    done: bool = False


class Registration:
    """Registers the instances of all threads of a process. Who comes while another commits, waits and goes along next.

    A door has one. Rows are committed when `register` returns, as if the caller had committed them alone.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Batch] = []
        self._queue = Lock()
        self._turn = Lock()

    @property
    def database(self) -> Database:
        """Where the rows go."""
        return self._database

    def register(self, records: Sequence[InstanceRecord]) -> list[Registered]:
        """Register instances whose bytes are stored; say of each what became of it, in their order.

        Raises:
            PlatformError: UNAVAILABLE when the database is away; what is registered by then is registered.
        """
        registered: list[Registered] = []
        for start in range(0, len(records), MAX_ROWS):
            registered += self._together(_Batch(records[start : start + MAX_ROWS]))
        return registered

    def _together(self, batch: _Batch) -> list[Registered]:
        with self._queue:
            self._waiting.append(batch)
        with self._turn:
            while not batch.done:
                self._commit(self._next())
        if batch.error is not None:
            raise batch.error
        return batch.registered

    def _next(self) -> list[_Batch]:
        """Those that waited longest, as many as fit into one transaction, and one at least."""
        with self._queue:
            taken, rows = 0, 0
            while taken < len(self._waiting) and (not taken or rows + len(self._waiting[taken].records) <= MAX_ROWS):
                rows += len(self._waiting[taken].records)
                taken += 1
            batches, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batches

    def _commit(self, batches: Sequence[_Batch]) -> None:
        try:
            self._write(batches)
        except PlatformError as error:
            for batch in batches:
                batch.error = error
        except Exception as error:  # noqa: BLE001  it is raised to the caller whose record it is
            if len(batches) > 1:
                for batch in batches:
                    self._commit([batch])
            else:
                batches[0].error = error
        for batch in batches:
            batch.done = True

    def _write(self, batches: Sequence[_Batch]) -> None:
        """One transaction, studies in the order of their UIDs, as `Studies.register` wants it."""
        rows = [(batch, number) for batch in batches for number in range(len(batch.records))]
        rows.sort(key=lambda row: row[0].records[row[1]].study_instance_uid)
        found: dict[tuple[int, int], Registered] = {}
        with self._database.session() as session:
            studies = Studies(session)
            for batch, number in rows:
                found[id(batch), number] = studies.register(batch.records[number])
        for batch in batches:
            batch.registered = [found[id(batch), number] for number in range(len(batch.records))]
