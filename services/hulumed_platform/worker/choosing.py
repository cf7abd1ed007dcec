"""Which instances of a stored study go to the model."""

from collections import defaultdict
from typing import Any

from sqlalchemy.orm import Session

from hulumed_platform.archive.rules.known import stored_facts
from hulumed_platform.archive.rules.match import chosen_series
from hulumed_platform.archive.rules.schema import Rule
from hulumed_platform.storage.models import Instance, Study
from hulumed_platform.storage.studies import Studies


def chosen_instances(session: Session, study: Study, rule: Rule) -> list[Instance]:
    """The instances of the series that a rule chooses, ordered by series; none where it chooses none."""
    studies = Studies(session)
    instances = studies.instances(study.id)
    remembered: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for instance in instances:
        remembered[instance.series_id].append(instance.attributes or {})
    facts = stored_facts(study, studies.series(study.id), remembered)
    chosen = {one.series_instance_uid for one in chosen_series(rule, facts)}
    return [instance for instance in instances if instance.series.series_instance_uid in chosen]
