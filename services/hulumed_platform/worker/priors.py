"""Earlier studies of the patient: fetched from the rule's source, and chosen from all that is here.

What cannot be had is left out with the reason, or waited for, as the rule says; the report's provenance tells both.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from threading import Event
from typing import Any

from sqlalchemy.orm import Session

from hulumed_platform.archive.peers.opened import open_peer
from hulumed_platform.archive.peers.peer import StudyQuery, read_date
from hulumed_platform.archive.rules.schema import LOCAL, Peer, Priors, Rule, WhenAway
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.core.settings import SettingsError
from hulumed_platform.rpc.clients import OnLeave
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.models import Instance, Study
from hulumed_platform.storage.objects import ObjectStore
from hulumed_platform.storage.studies import Studies
from hulumed_platform.worker.choosing import chosen_instances
from hulumed_platform.worker.prior_fetching import PriorFetching, Wanted
from hulumed_platform.worker.report_request import PriorStudy

log = logging.getLogger(__name__)

_MAX_LOOKED_AT = 50
"""Earlier studies that are looked at to find those that fit."""
_WILDCARDS = frozenset("*?\\")
"""A patient id with one of them would find other patients (PS3.4, section C.2.2.2.4)."""


@dataclass(frozen=True, slots=True)
class FoundPriors:
    """Priors for one report, the newest first, and why others are not among them. None where none are wanted."""

    studies: Sequence[PriorStudy] = ()
    notes: Sequence[str] = field(default=())
    wanted: bool = False

    def provenance(self) -> dict[str, Any]:
        """What the report's provenance says of them."""
        used = [
            {
                "study_instance_uid": one.study_instance_uid,
                "revision": one.revision,
                "days_before": one.days_before,
                "num_instances": len(one.instances),
            }
            for one in self.studies
        ]
        return {"priors": {"used": used, "notes": list(self.notes)}} if self.wanted else {}


@dataclass(frozen=True, slots=True)
class PriorFinder:
    """Finds priors. `peers` gives what the rules file says of peers now."""

    database: Database
    objects: ObjectStore
    peers: Callable[[], Mapping[str, Peer]]

    def of(self, study: Study, instances: Sequence[Instance], rule: Rule, on_leave: OnLeave) -> FoundPriors:
        """Find the priors that a rule wants for a study.

        Args:
            study: whose patient and date count.
            instances: those that go to the model; their modalities count.
            rule: what it wants.
            on_leave: is given what stops the fetching.

        Raises:
            PlatformError: UNAVAILABLE or DEADLINE where the source does not answer and the rule says to wait;
                CANCELLED by `on_leave`.
        """
        if rule.priors is None:
            return FoundPriors()
        query = _query(study, rule.priors)
        if query is None:
            note = "the study has no date, or no patient id that is safe to ask for"
            return FoundPriors(notes=[note], wanted=True)
        modalities = _modalities(instances) if rule.priors.same_modality else frozenset()
        wanted = Wanted(study, rule.priors, query, modalities)
        incomplete, notes = self._fetched(wanted, on_leave)
        with self.database.reading() as session:
            fitting = _fitting(session, wanted, rule, incomplete)
            return FoundPriors(list(islice(fitting, rule.priors.count)), notes, wanted=True)

    def _fetched(self, wanted: Wanted, on_leave: OnLeave) -> tuple[set[str], list[str]]:
        """Fetch what is not here; return the UIDs of studies that did not come whole, and what is to be told."""
        source = wanted.rule.source
        if source == LOCAL:
            return set(), []
        left = Event()
        on_leave(left.set)
        fetching = PriorFetching(self.database, self.objects, wanted, left.is_set)
        try:
            fetching.fetch(open_peer(self.peers()[source]))
        except (KeyError, SettingsError) as error:
            fetching.notes.append(f"{source}: {error if isinstance(error, SettingsError) else 'no such peer any more'}")
        except PlatformError as error:
            if error.code is ErrorCode.CANCELLED or wanted.rule.when_away is WhenAway.WAIT:
                raise
            told = {"study": wanted.study.id, "peer": source, "code": error.code.value}
            log.warning("priors skipped: %s", error.message, extra=told)
            fetching.notes.append(f"{source}: {error.message}")
        return fetching.incomplete, fetching.notes


def _fitting(session: Session, wanted: Wanted, rule: Rule, incomplete: set[str]) -> Iterator[PriorStudy]:
    """Studies that are here and fit, the newest first."""
    study, query = wanted.study, wanted.query
    first, last = query.date_range.split("-")
    candidates = Studies(session).of_patient(
        study.tenant, query.patient_id, first=first, last=last, limit=_MAX_LOOKED_AT
    )
    for prior in candidates:
        same_patient = query.fits(prior.patient_id or "", _issuer(prior))
        if not same_patient or prior.study_instance_uid in incomplete or not _is_before(prior, study):
            continue
        instances = chosen_instances(session, prior, rule)
        if not instances or (wanted.modalities and not wanted.modalities & _modalities(instances)):
            continue
        day = read_date(prior.study_date or "")
        if day is not None:
            yield PriorStudy(prior.study_instance_uid, prior.revision, (query.last - day).days, instances)


def _query(study: Study, wanted: Priors) -> StudyQuery | None:
    day = read_date(study.study_date or "")
    if not study.patient_id or day is None or _WILDCARDS & set(study.patient_id):
        return None
    return StudyQuery(study.patient_id, _issuer(study) or None, day - timedelta(days=wanted.within_days), day)


def _issuer(study: Study) -> str:
    values = (study.attributes or {}).get("00100021", {}).get("Value") or [""]
    return str(values[0] or "")


def _is_before(prior: Study, study: Study) -> bool:
    """Of the same day, only what has an earlier time is earlier; nothing is earlier than itself."""
    return (prior.study_date or "", prior.study_time or "") < (study.study_date or "", study.study_time or "")


def _modalities(instances: Sequence[Instance]) -> frozenset[str]:
    return frozenset(one.series.modality for one in instances if one.series.modality)
