"""Small real and synthetic inputs, and shorthands to prepare them."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import nibabel
import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset, dcmwrite
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from hulumed_platform.imaging.patches import unpatchify
from hulumed_platform.imaging.prepare import Preparation, prepare
from hulumed_platform.imaging.types import Kind, Limits, Media, PrepareOptions, SourceFile, TokenBudget, Window

Array = npt.NDArray[np.generic]

LIMITS = Limits(timeout_s=60)
BUDGET = TokenBudget()


def source(path: Path, label: str = "file 1 of 1") -> SourceFile:
    """A stored object as the rooms refer to it."""
    return SourceFile(path, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}", label)


def media(paths: Path | Sequence[Path], **options: Any) -> Media:
    """One medium of some files; `options` are those of `PrepareOptions`, and `kind`."""
    kind: Kind | None = options.pop("kind", None)
    files = [paths] if isinstance(paths, Path) else paths
    sources = tuple(source(path, f"file {i} of {len(files)}") for i, path in enumerate(files, start=1))
    return Media(sources, kind, PrepareOptions(**options))


def prepared(*mediums: Media, scratch: Path, limits: Limits = LIMITS, budget: TokenBudget = BUDGET) -> Preparation:
    """Prepare, with the default limits."""
    return prepare(mediums, limits=limits, budget=budget, scratch=scratch)


def pictures(preparation: Preparation, item: int = 0) -> list[npt.NDArray[np.uint8]]:
    """The planes of an item as pictures [H, W, 3], after the resize."""
    shape = preparation.items[item]
    return [
        unpatchify(plane.patches[np.newaxis], height=shape.height, width=shape.width, merge=shape.merge)[0]
        for plane in preparation.planes()
        if plane.item == item
    ]


def codes(preparation: Preparation, item: int = 0) -> set[str]:
    """Codes of an item's notes."""
    return {note.code for note in preparation.items[item].notes}


def real(name: str) -> Path:
    """A file of pydicom or pydicom-data."""
    path = get_testdata_file(name)
    assert isinstance(path, str)
    return Path(path)


def picture(path: Path, pixels: Array, **save: Any) -> Path:
    """A picture file; the suffix of `path` says which."""
    Image.fromarray(pixels).save(path, **save)
    return path


def nifti(path: Path, voxels: Array, affine: Array | None = None) -> Path:
    """A NIfTI-1 file, gzipped where the suffix says so; affine None = identity (RAS+, 1 mm)."""
    image = nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine)  # type: ignore[no-untyped-call]
    nibabel.save(image, path)
    return path


def video(
    path: Path,
    num_frames: int = 50,
    fps: int = 10,
    codec: str = "mpeg4",
    *,
    turn_deg: int = 0,
    paint: npt.NDArray[np.uint8] | None = None,
) -> Path:
    """A film of 96 x 64 pixels that grows lighter by 4 grey levels a frame, from 20, over and over after 50 frames.

    `turn_deg` goes into the display matrix (counter-clockwise); `paint` [64, 96, 3] shows where it is lighter.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.bit_rate, stream.codec_context.gop_size = 4_000_000, 12
        if turn_deg:
            stream.set_display_rotation(turn_deg)
        for i in range(num_frames):
            pixels = np.full((64, 96, 3), 20 + 4 * (i % 50), np.uint8)
            if paint is not None:
                pixels = np.maximum(pixels, paint)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def ct_slice(stored: Array, **attributes: object) -> Dataset:
    """One CT instance of 16-bit signed values, HU = stored - 1024, with any attribute changed or (None) removed."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values: dict[str, object] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "SeriesNumber": 3,
        "InstanceNumber": 1,
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PatientName": "Doe^Jane",
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [0, 0, 0],
        "PixelSpacing": [1, 1],
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        **attributes,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def write(path: Path, dataset: Dataset) -> Path:
    """Write a DICOM file."""
    dcmwrite(path, dataset, enforce_file_format=True)
    return path


def ct_series(folder: Path, positions_mm: Sequence[float], **attributes: object) -> list[Path]:
    """A CT series whose slice at z mm shows z + 100 HU everywhere, numbered against the order of positions."""

    def files() -> Iterator[Path]:
        for i, z in enumerate(positions_mm):
            stored = np.full((32, 48), int(z) + 100 + 1024, np.int16)
            own = {"ImagePositionPatient": [0, 0, z], "InstanceNumber": len(positions_mm) - i, **attributes}
            yield write(folder / f"{i}.dcm", ct_slice(stored, **own))

    return list(files())


WHOLE = Window(center=127.5, width=255)
"""Shows every unit from 0 to 255 as the grey level of the same number."""
