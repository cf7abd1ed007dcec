"""Real imaging studies that come inside Python packages, for the demo: nothing is fetched.

Radiograph, CT and echo cine are of pydicom-data (MIT); the brain is the MNI152 template of nilearn (BSD), wrapped here
as the axial MR series that a scanner would have sent.
"""

import importlib.util
import warnings
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pydicom
import pydicom.data
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from hulumed_platform.cli.errors import CliError

_BRAIN = Path("datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
_BRAIN_UID_SOURCE = "hulumed-platform MNI152 "


@dataclass(frozen=True, slots=True)
class Sample:
    """A study of the demo and its files."""

    title: str
    files: tuple[Path, ...]


def studies(folder: Path) -> list[Sample]:
    """The studies of the demo; `folder` takes the files that have to be made.

    Raises:
        CliError: A package of the extra `samples` is not installed.
    """
    return [
        Sample("Chest radiograph", (_pydicom_file("RG1_J2KR.dcm"),)),
        Sample("Head CT", (_pydicom_file("693_J2KR.dcm"),)),
        Sample("Echocardiogram, 120 frames", (_pydicom_file("color3d_jpeg_baseline.dcm"),)),
        Sample("Brain MR, 1 mm", tuple(write_brain(folder))),
    ]


def write_brain(folder: Path) -> list[Path]:
    """Write the MNI152 T1 template as an axial MR series; the same bytes every time.

    NIfTI's world axes point right, anterior, superior; DICOM's left, posterior, head (PS3.3 C.7.6.2.1.1).
    """
    image = nibabel.load(find_template())
    image = nibabel.as_closest_canonical(image)  # type: ignore[no-untyped-call]
    voxels = np.asarray(image.dataobj).astype(np.uint16)
    last_column, last_row, _ = np.array(voxels.shape) - 1
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k in range(voxels.shape[2]):
        right, anterior, superior, _ = image.affine @ (last_column, last_row, k, 1)
        slice_rows = voxels[::-1, ::-1, k].T  # columns run to the patient's left, rows to the back
        paths.append(folder / f"{k:03d}.dcm")
        _mr_slice(slice_rows, (-right, -anterior, superior), k).save_as(paths[-1], enforce_file_format=True)
    return paths


def _mr_slice(pixels: npt.NDArray[np.uint16], position_mm: tuple[float, float, float], index: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = _uid(f"instance {index}")
    dataset.StudyInstanceUID = _uid("study")
    dataset.SeriesInstanceUID = _uid("series")
    dataset.FrameOfReferenceUID = _uid("frame of reference")
    dataset.Modality = "MR"
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    dataset.PatientName = "MNI152^Template"
    dataset.PatientID = "MNI152"
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = index + 1
    dataset.ScanningSequence = "GR"
    dataset.SequenceVariant = "NONE"
    dataset.SliceThickness = 1.0
    dataset.PixelSpacing = [1.0, 1.0]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [float(value) for value in position_mm]
    dataset.set_pixel_data(np.ascontiguousarray(pixels), "MONOCHROME2", 12, generate_instance_uid=False)
    return dataset


def _uid(what: str) -> str:
    return generate_uid(entropy_srcs=[_BRAIN_UID_SOURCE, what])


def _pydicom_file(name: str) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom warns of every package whose data it cannot use
        path = pydicom.data.get_testdata_file(name, download=False)
    if path is None:
        raise CliError("the demo needs the package pydicom-data; install hulumed-platform[samples]")
    return Path(str(path))


def find_template() -> Path:
    """The MNI152 template inside nilearn, without the seconds that importing nilearn takes."""
    found = importlib.util.find_spec("nilearn")
    if found is None or found.origin is None:
        raise CliError("the demo needs the package nilearn; install hulumed-platform[samples]")
    return Path(found.origin).parent / _BRAIN
