"""Deletes what is over: files past their end, objects that nothing names, and what killed uploads left."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hulumed_platform.storage import retention
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.worker import metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LettingGo:
    """What to look through, and how old an object must be before it may go."""

    database: Database
    objects: ObjectStore
    tenant: str
    orphan_age_s: float

    def let_go(self) -> None:
        """Look once.

        Raises:
            PlatformError: UNAVAILABLE when database or objects cannot be reached; what is gone stays gone.
        """
        now = datetime.now(UTC)
        files = retention.remove_expired(self.database, now)
        metrics.REMOVED.labels("files").inc(files)
        put_before = now - timedelta(seconds=self.orphan_age_s)
        objects = retention.remove_unreferenced(self.database, self.objects, self.tenant, put_before=put_before)
        metrics.REMOVED.labels("objects").inc(objects)
        unfinished = self.objects.remove_unfinished(put_before)
        metrics.REMOVED.labels("unfinished").inc(unfinished)
        if files or objects or unfinished:
            log.info("let go", extra={"files": files, "objects": objects, "unfinished": unfinished})
