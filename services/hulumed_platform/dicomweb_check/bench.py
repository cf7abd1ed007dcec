"""What a check works with: the server, data that are made for it, and a look at what is really stored."""

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hulumed_platform.dicomweb_check.commitments import Commitments
from hulumed_platform.dicomweb_check.multipart import CONTENT_TYPE, related
from hulumed_platform.dicomweb_check.server import DICOM_JSON, Answer, Server
from hulumed_platform.dicomweb_check.service import ABSENT, Service, missing_services
from hulumed_platform.dicomweb_check.synthetic import Instance, make, new_uid
from hulumed_platform.dicomweb_check.verdict import DeviationError, NotOfferedError, VerdictError
from hulumed_platform.dicomweb_check.workitems import Workitems

_DELETED = (200, 202, 204)
_PATIENCE_S = (0.0, 0.3, 0.7)
"""Waits before each look for an instance that was acknowledged: some servers index a moment later."""


@dataclass(frozen=True, slots=True)
class Seed:
    """Two studies of one patient, to be searched and retrieved."""

    patient_id: str
    first: tuple[Instance, Instance, Instance]
    """Of 2020-01-15: two CT slices of one series, an MR slice of another."""
    second: Instance
    """Of 2020-02-20: a CT slice."""


class Bench:
    """One run on one server. Everything it stores is of a patient whose ID begins with `patient_id`."""

    def __init__(self, server: Server, *, writes: bool) -> None:
        self.server = server
        self.writes = writes
        self.patient_id = f"DWCHECK-{uuid.uuid4().hex[:8].upper()}"
        self.workitems = Workitems(server, self.patient_id)
        self.commitments = Commitments(server)
        self._studies: list[str] = []

    def make(self, *, patient_id: str = "", **options: Any) -> Instance:
        """An instance of this run; see `synthetic.make`."""
        instance = make(patient_id or self.patient_id, **options)
        if instance.study.startswith("2.25."):  # never delete by a UID that is missing, or wrong on purpose
            self._studies.append(instance.study)
        return instance

    def post(self, *instances: Instance, study: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        """Store instances in one request, under /studies or the study named."""
        return self.post_parts([instance.file for instance in instances], study=study, headers=headers)

    def post_parts(
        self, parts: Iterable[bytes], *, study: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Store parts that may be anything in one request."""
        return self.post_body(related(parts), study=study, headers=headers)

    def post_body(
        self, body: bytes | Iterable[bytes], *, study: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """POST a body that may be anything as a request to store."""
        path = "/studies" + (f"/{study}" if study else "")
        sent = {"Content-Type": CONTENT_TYPE, "Accept": DICOM_JSON, **(headers or {})}
        return self.server.request("POST", path, content=body, headers=sent)

    def holds(self, instance: Instance, *, patient: bool = False) -> bool | None:
        """Whether the instance can be got back; None where no service is there to ask.

        A patient look waits up to a second for it.
        """
        look = self._look
        if look is None:
            return None
        for wait_s in _PATIENCE_S if patient else _PATIENCE_S[:1]:
            time.sleep(wait_s)
            if self._sees(look, instance):
                return True
        return False

    @cached_property
    def missing(self) -> dict[Service, str]:
        """Services that are not offered, each with the reason."""
        missing = missing_services(self.server)
        if self.writes and Service.STOW not in missing and (why := self._why_no_wado()):
            missing[Service.WADO] = f"not offered: {why}"
        return missing

    @cached_property
    def seed(self) -> Seed:
        """Store what searches and retrievals need, once.

        Raises:
            NotOfferedError: it cannot be stored.
        """
        patient, study, series = f"{self.patient_id}-SEED", new_uid(), new_uid()
        first = (
            self.make(patient_id=patient, study=study, series=series, InstanceNumber="1"),
            self.make(patient_id=patient, study=study, series=series, InstanceNumber="2"),
            self.make(patient_id=patient, study=study, SOPClassUID=_MR, Modality="MR", SeriesNumber="2"),
        )
        second = self.make(patient_id=patient, StudyDate="20200220", AccessionNumber="A2", StudyID="2")
        for instance in (*first, second):
            answer = self.post(instance)
            if not answer.ok:
                raise NotOfferedError(f"the data for this check cannot be stored: {answer}")
        return Seed(patient, first, second)

    def clean(self) -> int:
        """Delete what was stored, where the server knows how to, and end the workitems, which stay.

        Returns:
            How many studies may be left.
        """
        studies = list(dict.fromkeys(self._studies))
        try:
            self.workitems.clean()
            statuses = self._delete(studies)
        except DeviationError:
            return len(studies)
        if not any(status in _DELETED for status in statuses):
            return len(studies)
        # What was refused before is not found now.
        return sum(status not in (*_DELETED, 404) for status in statuses)

    def _delete(self, studies: list[str]) -> list[int]:
        statuses: list[int] = []
        for study in studies:
            statuses.append(self.server.request("DELETE", f"/studies/{study}").status)
            if statuses[-1] in (405, 501):
                break
        return statuses

    def _why_no_wado(self) -> str:
        """A server with WADO-RS gives out the metadata of an instance that was just stored."""
        try:
            answer = self.server.get(f"{self.seed.second.path}/metadata")
        except VerdictError as error:
            return str(error)
        return f"the metadata of a stored instance are answered {answer.status}" if answer.status in ABSENT else ""

    @cached_property
    def _look(self) -> Service | None:
        """The service that shows what is stored."""
        return next((service for service in (Service.WADO, Service.QIDO) if service not in self.missing), None)

    def _sees(self, service: Service, instance: Instance) -> bool:
        if service is Service.WADO:
            return self.server.get(f"{instance.path}/metadata").status == 200
        path = f"/studies/{instance.study}/series/{instance.series}/instances?SOPInstanceUID={instance.sop}"
        answer = self.server.get(path)
        return answer.status == 200 and instance.sop.encode() in answer.body


_MR = "1.2.840.10008.5.1.4.1.1.4"
