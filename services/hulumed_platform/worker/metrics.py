"""What the worker room measures."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)

STUDIES = Gauge("hulumed_studies", "Studies in the database, by state.", ["state"])
STUDIES_WAITING = Gauge(
    "hulumed_studies_waiting", "Studies that are complete and wait for a worker: the queue's length."
)
STUDIES_OVER = Counter(
    "hulumed_studies_over_total",
    "Studies that were found to be over, by the state that they went to and by why they are over.",
    ["state", "reason"],
)
RULES_BROKEN = Gauge("hulumed_rules_broken", "1 while the rules file has faults and the rules before it count on.")
STUDIES_ACTIVE = Gauge("hulumed_studies_active", "Studies that this process works on.")
TASKS = Counter("hulumed_study_tasks_total", "Study tasks that ended, by outcome.", ["outcome"])
STUDY_SECONDS = Histogram(
    "hulumed_study_seconds", "Seconds of one attempt at a study, by part of the work.", ["part"], buckets=_SECONDS
)
REMOVED = Counter("hulumed_removed_total", "Files and objects that were deleted.", ["what"])
MISSING_OBJECTS = Gauge("hulumed_missing_objects", "Objects that instances name and that are gone, at the last look.")
