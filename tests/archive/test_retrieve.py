"""What comes in comes out, from both kinds of object stores and databases."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from hulumed_platform.archive.intake import FailureReason, Intake
from hulumed_platform.archive.registration import Registration
from hulumed_platform.archive.rendering import Renderers
from hulumed_platform.archive.retrieve import Located, Retrieval, locate
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.database import Database
from hulumed_platform.storage.objects import ObjectStore
from tests.gateway.dicom import instance

TENANT = "acme"


@pytest.fixture(scope="module")
def renderers() -> Iterator[Renderers]:
    with Renderers(2, max_job_s=60, max_memory_bytes=2 << 30) as made:
        yield made


@dataclass(frozen=True)
class Archive:
    """Both ends."""

    database: Database
    intake: Intake
    retrieval: Retrieval

    def located(self, study: str) -> list[Located]:
        """Its instances."""
        with self.database.reading() as session:
            return locate(session, TENANT, study)


@pytest.fixture
def archive(objects: ObjectStore, database: Database, renderers: Renderers, tmp_path: Path) -> Archive:
    intake = Intake(objects, Registration(database), tenant=TENANT, max_instance_bytes=1 << 20)
    (tmp_path / "scratch").mkdir()
    return Archive(database, intake, Retrieval(objects, database, renderers, TENANT, tmp_path / "scratch"))


def test_every_form_of_an_instance(archive: Archive, tmp_path: Path) -> None:
    """As it came, transcoded, its frame, its pixel data, its picture; and nothing stays in the scratch folder."""
    study = generate_uid()
    sent = instance(StudyInstanceUID=study)
    assert archive.intake.store(io.BytesIO(sent)).failure_reason is None
    (one,) = archive.located(study)
    pixels = np.arange(256, dtype="<u2").tobytes()
    retrieval = archive.retrieval
    with retrieval.stored(one) as file:
        assert file.read() == sent
    with retrieval.transcoded(one) as file:
        assert pydicom.dcmread(io.BytesIO(file.read())).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    frames = retrieval.frames(one, [1, 1], decode=True)
    with frames.file as file:
        assert (file.read(), frames.lengths) == (pixels * 2, (512, 512))
    with retrieval.bulk(one, "7FE00010") as file:
        assert file.read() == pixels
    assert retrieval.picture(one, frame=1, media_type="image/png").startswith(b"\x89PNG")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_metadata_are_computed_once(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the instances; the second time no child is asked, and the store is not read."""
    study = generate_uid()
    for number in (2, 10, 1):
        archive.intake.store(io.BytesIO(instance(StudyInstanceUID=study, InstanceNumber=number)))
    located = archive.located(study)
    assert [one.instance_number for one in located] == ["1", "2", "10"]
    first = [item for step in archive.retrieval.metadata(located) for item in step]
    assert [json.loads(content)["00200013"]["Value"] for _, content in first] == [[1], [2], [10]]
    monkeypatch.delattr(Renderers, "run")
    assert [item for step in archive.retrieval.metadata(located) for item in step] == first


def test_many_metadata_come_in_steps(archive: Archive) -> None:
    """More than are computed at once, and a reader who leaves after the first."""
    study = generate_uid()
    files = [instance(StudyInstanceUID=study, InstanceNumber=number) for number in range(70)]
    archive.intake.register([archive.intake.receive(io.BytesIO(file)) for file in files])
    steps = archive.retrieval.metadata(archive.located(study))
    assert len(next(steps)) == 32
    assert sum(len(step) for step in archive.retrieval.metadata(archive.located(study))) == 70


def test_what_is_not_there_is_not_found(archive: Archive) -> None:
    """A study, and an element of an instance."""
    study = generate_uid()
    with pytest.raises(PlatformError, match="no such study"):
        archive.located(study)
    archive.intake.store(io.BytesIO(instance(StudyInstanceUID=study)))
    (one,) = archive.located(study)
    for element in ("00420011", "00081140/0/00420011", "00100010/0/00100010"):
        with pytest.raises(PlatformError) as caught:
            archive.retrieval.bulk(one, element)
        assert caught.value.code is ErrorCode.NOT_FOUND


def test_same_data_set_under_another_meta(archive: Archive) -> None:
    """Compared in the store, which on S3 cannot be sought in."""
    sent = instance()
    assert archive.intake.store(io.BytesIO(sent)).failure_reason is None
    assert archive.intake.store(io.BytesIO(b"x" * 128 + sent[128:])).failure_reason is None
    changed = archive.intake.store(io.BytesIO(sent[:-1] + b"\xff"))
    assert changed.failure_reason is FailureReason.DUPLICATE
