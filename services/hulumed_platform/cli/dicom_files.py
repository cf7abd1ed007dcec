"""Which of the files that a user points at are DICOM, and of which study."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.misc import is_dicom

from hulumed_platform.cli.errors import CliError

_UID_TAGS = ["StudyInstanceUID", "SOPInstanceUID"]


@dataclass(frozen=True, slots=True)
class DicomFile:
    """One instance on disk."""

    path: Path
    size_bytes: int
    study_instance_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found: instances in order of study and path, and files that are none."""

    instances: tuple[DicomFile, ...]
    others: tuple[Path, ...]


def scan(paths: Iterable[Path]) -> Scan:
    """Look at files, and at all files in folders.

    Raises:
        CliError: A path does not exist or cannot be read.
    """
    instances: list[DicomFile] = []
    others: list[Path] = []
    for path in _files(paths):
        instance = _read(path)
        if instance is None:
            others.append(path)
        else:
            instances.append(instance)
    instances.sort(key=lambda instance: (instance.study_instance_uid, instance.path))
    return Scan(tuple(instances), tuple(others))


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise CliError(f"{path}: no such file or folder")
        if path.is_dir():
            yield from sorted(found for found in path.rglob("*") if found.is_file())
        elif path.is_file():
            yield path
        else:
            raise CliError(f"{path}: neither a file nor a folder")


def _read(path: Path) -> DicomFile | None:
    """The instance in a DICOM file (PS3.10: a preamble and "DICM"), None for any other file."""
    try:
        if not is_dicom(path):
            return None
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_UID_TAGS)
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}") from error
    except (InvalidDicomError, ValueError, EOFError):
        return None
    study, sop = dataset.get("StudyInstanceUID"), dataset.get("SOPInstanceUID")
    if not study or not sop:
        return None  # a DICOMDIR has neither
    return DicomFile(path, path.stat().st_size, str(study), str(sop))


def batches(instances: Iterable[DicomFile], *, max_files: int, max_bytes: int) -> Iterator[list[DicomFile]]:
    """Cut a run of instances into requests of bounded size; a larger file goes alone."""
    batch: list[DicomFile] = []
    for instance in instances:
        size = sum(other.size_bytes for other in batch) + instance.size_bytes
        if batch and (len(batch) == max_files or size > max_bytes):
            yield batch
            batch = []
        batch.append(instance)
    if batch:
        yield batch
