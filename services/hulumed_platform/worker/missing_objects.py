"""Finds studies whose bytes are gone from the object store, says so, and lets them go on when the bytes are back."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from hulumed_platform.storage import missing
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.worker import metrics

log = logging.getLogger(__name__)

_AT_ONCE = 500
"""Digests of one statement."""


@dataclass(frozen=True, slots=True)
class MissingObjects:
    """What to look through."""

    database: Database
    objects: ObjectStore
    tenant: str

    def look(self) -> None:
        """Look once.

        Raises:
            PlatformError: UNAVAILABLE when database or objects cannot be reached; what was written stays written.
        """
        for study_id in missing.restored_studies(self.database, self.objects, self.tenant):
            with self.database.session() as session:
                restored = missing.restore(session, study_id, datetime.now(UTC))
            if restored:
                log.info("bytes of a study are back", extra={"study": study_id})
        self._fail()

    def _fail(self) -> None:
        count = 0
        found = missing.missing_digests(self.database, self.objects, self.tenant)
        while digests := list(islice(found, _AT_ONCE)):
            count += len(digests)
            with self.database.session() as session:
                failed = missing.fail_studies(session, self.tenant, digests, datetime.now(UTC))
            for study_id in failed:
                log.error("bytes of a study are gone", extra={"study": study_id})
        metrics.MISSING_OBJECTS.set(count)
