"""A peer by DICOM's network protocol: C-FIND, then C-GET, or C-MOVE to our own dimse room (PS3.4, annex C)."""

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO

from pydicom import Dataset
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at import
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from hulumed_platform.archive.peers.peer import Budget, Deliver, FoundStudy, StudyQuery, away, is_uid, read_date
from hulumed_platform.archive.rules.schema import DimsePeer
from hulumed_platform.core.errors import PlatformError

# It logs data sets of queries, which are a patient's.
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)

_SUCCESS = 0x0000
_PENDING = (0xFF00, 0xFF01)
_OUT_OF_RESOURCES = 0xA700
_MAX_FOUND = 1000
_MAX_CONTEXTS = 128
"""Of one association (PS3.8, section 9.3.2.2): their ids are odd numbers of one byte."""
_PLAIN: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_COMPRESSED = [uid for uid in ALL_TRANSFER_SYNTAXES if uid not in (*_PLAIN, ExplicitVRBigEndian)]
_FREQUENT = [
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEG2000Lossless,
    JPEG2000,
    JPEGLSLossless,
    RLELossless,
    JPEGExtended12Bit,
]
_IMAGES = [
    str(context.abstract_syntax)
    for context in AllStoragePresentationContexts
    if "Image Storage" in UID(str(context.abstract_syntax)).name
]
"""An association has no room for all classes that there are."""


class DimseArchive:
    """See `peer.Peer`. One association for each operation, so that one that hangs holds up nothing else."""

    def __init__(self, settings: DimsePeer) -> None:
        self._settings = settings

    def studies(self, query: StudyQuery, budget: Budget) -> list[FoundStudy]:
        """See `peer.Peer`."""
        identifier = _identifier("")
        identifier.PatientID = query.patient_id
        identifier.StudyDate = query.date_range
        for keyword in ("IssuerOfPatientID", "ModalitiesInStudy", "NumberOfStudyRelatedInstances"):
            setattr(identifier, keyword, None)
        found: list[FoundStudy] = []
        with self._associated(StudyRootQueryRetrieveInformationModelFind, budget) as association:
            answers = association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind)
            for answer in _pending(answers, budget):
                if (study := _found(answer, query)) and len(found) < _MAX_FOUND:
                    found.append(study)
        return found

    def fetch(self, study_instance_uid: str, deliver: Deliver, budget: Budget) -> None:
        """See `peer.Peer`. By C-MOVE, instances come through the `dimse` room, and `deliver` is not called."""
        if self._settings.move_to:
            self._move(study_instance_uid, self._settings.move_to, budget)
        else:
            self._get(study_instance_uid, deliver, budget)

    def _move(self, study_instance_uid: str, move_to: str, budget: Budget) -> None:
        model = StudyRootQueryRetrieveInformationModelMove
        with self._associated(model, budget) as association:
            for _ in _pending(association.send_c_move(_identifier(study_instance_uid), move_to, model), budget):
                pass

    def _get(self, study_instance_uid: str, deliver: Deliver, budget: Budget) -> None:
        model = StudyRootQueryRetrieveInformationModelGet
        faults: list[PlatformError] = []

        def store(event: Event) -> int:
            """One instance that comes back on our own association."""
            if faults:
                return _OUT_OF_RESOURCES
            content = event.encoded_dataset()
            try:
                budget.take(len(content))
                deliver(BytesIO(content))
            except PlatformError as error:
                faults.append(error)
                return _OUT_OF_RESOURCES
            return _SUCCESS

        classes = self._classes(study_instance_uid, budget)
        with self._associated(model, budget, _storage_contexts(classes), store) as association:
            answers = association.send_c_get(_identifier(study_instance_uid), model)
            try:
                for _ in _pending(answers, budget):
                    if faults:
                        association.abort()
                        break
            except PlatformError as error:
                raise faults[0] if faults else error from None
        if faults:
            raise faults[0]

    def _classes(self, study_instance_uid: str, budget: Budget) -> list[str]:
        """The classes that a study has; all of images where the peer does not say."""
        identifier = _identifier(study_instance_uid)
        identifier.SOPClassesInStudy = None
        model = StudyRootQueryRetrieveInformationModelFind
        with self._associated(model, budget) as association:
            answers = list(_pending(association.send_c_find(identifier, model), budget))
        told = {uid for answer in answers for uid in _several(answer.get("SOPClassesInStudy"))}
        return sorted(told, key=lambda uid: (uid not in _IMAGES, uid))[: _MAX_CONTEXTS - 1] or _IMAGES

    @contextmanager
    def _associated(
        self,
        model: str,
        budget: Budget,
        storing: Sequence[PresentationContext] = (),
        store: Callable[[Event], int] | None = None,
    ) -> Iterator[Association]:
        entity = AE(self._settings.calling_ae_title)
        for timeout in ("acse_timeout", "connection_timeout", "dimse_timeout", "network_timeout"):
            setattr(entity, timeout, budget.left_s)
        self._check_reachable(budget)
        association = entity.associate(
            self._settings.host,
            self._settings.port,
            [build_context(model), *storing],
            ae_title=self._settings.ae_title,
            ext_neg=[build_role(uid, scp_role=True) for uid in {str(one.abstract_syntax) for one in storing}],
            evt_handlers=[(evt.EVT_C_STORE, store)] if store else [],
        )
        if not association.is_established:
            raise away("refuses the association")
        try:
            if not any(context.abstract_syntax == model for context in association.accepted_contexts):
                raise away(f"does not offer {UID(model).name}")
            yield association
        finally:
            if association.is_established:
                association.release()

    def _check_reachable(self, budget: Budget) -> None:
        """pynetdicom leaves the socket of an attempt that fails open, and says nothing of why it failed."""
        try:
            socket.create_connection((self._settings.host, self._settings.port), timeout=budget.left_s).close()
        except OSError as error:
            raise away(f"cannot be reached: {error.strerror or 'no answer'}") from error


def _storage_contexts(classes: Sequence[str]) -> list[PresentationContext]:
    """One for the plain syntaxes and one for each compressed one, as far as there is room.

    A peer takes one syntax of each, so a study that is partly compressed needs several.
    """
    room = max((_MAX_CONTEXTS - 1) // max(len(classes), 1), 1)
    frequent = [str(uid) for uid in _FREQUENT]
    compressed = [*frequent, *(uid for uid in _COMPRESSED if uid not in frequent)][: room - 1]
    plain = [build_context(uid, _PLAIN) for uid in classes]
    return plain + [build_context(uid, syntax) for syntax in compressed for uid in classes]


def _identifier(study_instance_uid: str) -> Dataset:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = "STUDY"
    dataset.StudyInstanceUID = study_instance_uid
    return dataset


def _pending(answers: Iterator[tuple[Dataset, Dataset | None]], budget: Budget) -> Iterator[Dataset]:
    """The answers until the last, which must be a success. Whoever stops early aborts the association."""
    for status, answer in answers:
        if "Status" not in status:
            raise away("did not answer in time, or broke off")
        if status.Status in _PENDING:
            budget.check()
            yield answer if answer is not None else Dataset()
        elif status.Status != _SUCCESS:
            raise away(f"failed with status {status.Status:04X}H", retryable=False)


def _found(answer: Dataset, query: StudyQuery) -> FoundStudy | None:
    """None for a study of another patient, or without a UID or a date."""
    patient_id, issuer = (str(answer.get(name) or "").strip() for name in ("PatientID", "IssuerOfPatientID"))
    uid, day = str(answer.get("StudyInstanceUID") or ""), read_date(str(answer.get("StudyDate") or ""))
    if not is_uid(uid) or day is None or not query.fits(patient_id, issuer):
        return None
    count = answer.get("NumberOfStudyRelatedInstances")
    return FoundStudy(uid, day, _several(answer.get("ModalitiesInStudy")), None if count is None else int(count))


def _several(value: str | Sequence[str] | None) -> frozenset[str]:
    """The values of an element that may have one, several or none."""
    values = [] if value is None else [value] if isinstance(value, str) else value
    return frozenset(map(str, values)) - {""}
