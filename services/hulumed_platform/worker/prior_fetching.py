"""Earlier studies from another archive, through the one intake, marked as priors."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from hulumed_platform.archive.intake import Intake
from hulumed_platform.archive.peers.peer import Budget, Deliver, FoundStudy, Peer, StudyQuery
from hulumed_platform.archive.registration import Registration
from hulumed_platform.archive.rules.schema import Priors
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import Study, StudyState
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.storage.records import Source
from hulumed_platform.storage.studies import Studies

_ENDS = frozenset({ErrorCode.CANCELLED, ErrorCode.DEADLINE})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which priors a study is to have. `modalities` is empty where they do not matter."""

    study: Study = field(repr=False)
    rule: Priors
    query: StudyQuery
    modalities: frozenset[str]


class PriorFetching:
    """One round of fetching. `incomplete` and `notes` grow meanwhile, also when it ends by an error.

    Args:
        database: where studies are.
        objects: where the bytes of instances go.
        wanted: what to fetch.
        left: whether the work is to stop.
    """

    def __init__(self, database: Database, objects: ObjectStore, wanted: Wanted, left: Callable[[], bool]) -> None:
        self._database = database
        self._wanted = wanted
        self._left = left
        tenant = wanted.study.tenant
        self._intake = Intake(objects, Registration(database), tenant=tenant, max_instance_bytes=wanted.rule.max_bytes)
        self.incomplete: set[str] = set()
        """UIDs of studies that are not here whole."""
        self.notes: list[str] = []
        """What was left out, and why; no patient data."""

    def fetch(self, peer: Peer) -> None:
        """Fetch the newest studies that fit and are not here yet.

        Raises:
            PlatformError: UNAVAILABLE or DEADLINE where the peer does not answer (in time); CANCELLED.
        """
        rule = self._wanted.rule
        time = Budget(timeout_s=rule.timeout_s, max_bytes=0, max_instances=0)
        found = [one for one in peer.studies(self._wanted.query, time) if self._fits(one)]
        newest = sorted(found, key=lambda one: one.study_date, reverse=True)[: rule.count]
        missing = [one for one in newest if not self._is_here(one)]
        self.incomplete = {one.study_instance_uid for one in missing}
        for one in missing:
            room = time.again(max_bytes=rule.max_bytes, max_instances=rule.max_instances)
            self._fetch_one(peer, one, room)

    def _fits(self, found: FoundStudy) -> bool:
        if found.study_instance_uid == self._wanted.study.study_instance_uid:
            return False
        known = bool(self._wanted.modalities and found.modalities)
        return not known or bool(self._wanted.modalities & found.modalities)

    def _is_here(self, found: FoundStudy) -> bool:
        """A study that was sent is here; one that was fetched is, once it has as many instances as its source."""
        with self._database.reading() as session:
            studies = Studies(session)
            try:
                held = studies.get(self._wanted.study.tenant, found.study_instance_uid)
            except PlatformError:
                return False
            count = sum(series.num_instances for series in studies.series(held.id))
        return held.state is not StudyState.PRIOR or (found.num_instances is not None and count >= found.num_instances)

    def _fetch_one(self, peer: Peer, found: FoundStudy, room: Budget) -> None:
        uid = found.study_instance_uid
        if found.num_instances is not None and found.num_instances > self._wanted.rule.max_instances:
            self.notes.append(f"study {uid} has {found.num_instances} instances, more than the rule allows")
            return
        try:
            peer.fetch(uid, self._deliver(uid), room)
        except PlatformError as error:
            if error.retryable or error.code in _ENDS:
                raise
            self.notes.append(f"study {uid}: {error.message}")
        else:
            self.incomplete.discard(uid)

    def _deliver(self, study_instance_uid: str) -> Deliver:
        def deliver(file: BinaryIO) -> None:
            if self._left():
                raise PlatformError(ErrorCode.CANCELLED, "the study is worked on no more")
            outcome = self._intake.store(file, study=study_instance_uid, source=Source(prior=True))
            if outcome.failure_reason is not None:
                refused = outcome.failure_reason.name.lower()
                self.notes.append(f"an instance of study {study_instance_uid} was refused: {refused}")

        return deliver
