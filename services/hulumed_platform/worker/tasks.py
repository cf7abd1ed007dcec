"""The one task: work on a study. Its message carries the study's id and nothing else.

Celery delivers, SQL decides. A task is acknowledged after it ran, may be delivered twice or never, and is not retried
by Celery: a retryable failure puts the time of the next attempt into SQL, where the sweeper finds it.
"""

import logging
from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.exceptions import Reject

from hulumed_platform.core.errors import PlatformError
from hulumed_platform.worker import metrics
from hulumed_platform.worker.study_workflow import Outcome

log = logging.getLogger(__name__)

TASK = "hulumed.study"


class StudyTask(Task):  # type: ignore[misc]  # Celery is untyped
    """Runs the workflow on a study; counts what came of it."""

    name = TASK
    acks_late = True
    ignore_result = True

    def __init__(self, work: Callable[[str], Outcome]) -> None:
        self._work = work

    def run(self, study_id: str) -> str:
        """Work on a study, if there is anything to do.

        Raises:
            Reject: This process stops; the message goes back to the broker.
        """
        told = {"study": study_id, "task": self.request.id}
        try:
            outcome = self._work(study_id)
        except PlatformError as error:
            metrics.TASKS.labels(error.code.value).inc()
            log.warning("study task put off: %s", error.message, extra={**told, "code": error.code.value})
            return error.code.value
        metrics.TASKS.labels(outcome.value).inc()
        if outcome is Outcome.RELEASED:
            raise Reject("this worker stops", requeue=True)
        return outcome.value


def register(app: Celery, work: Callable[[str], Outcome]) -> Callable[[str], None]:
    """Add the task to the application; return what sends a study to a worker.

    What is returned raises `kombu.exceptions.OperationalError` where the broker cannot be reached.
    """
    task: Any = app.register_task(StudyTask(work))

    def send(study_id: str) -> None:
        task.apply_async((study_id,), retry=False)

    return send
