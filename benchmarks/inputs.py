"""Made input: DICOM series, films and pictures whose bytes are the same on every call."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

FPS = 10

Slice = NDArray[np.uint8]


def changing(num_planes: int, side_px: int, share: float) -> Iterator[Slice]:
    """Coarse noise [side, side] of which each plane draws a share of the rows afresh, from the top."""
    random = np.random.default_rng(0)
    plane = _noise(random, side_px, side_px)
    for _ in range(num_planes):
        yield plane.copy()
        rows = round(side_px * share)
        plane[:rows] = _noise(random, rows, side_px)


def write_series(folder: Path, planes: Iterator[Slice]) -> list[Path]:
    """A CT series of one instance a plane, 1 mm apart, shown as the grey levels given."""
    folder.mkdir()
    paths = []
    for index, plane in enumerate(planes):
        paths.append(folder / f"{index:04d}.dcm")
        dcmwrite(paths[-1], _instance(index, plane), enforce_file_format=True)
    return paths


def write_film(path: Path, planes: Iterator[Slice]) -> Path:
    """A film of grey planes, as nearly lossless as MPEG-4 goes."""
    with av.open(str(path), "w") as container:
        stream = None
        for plane in planes:
            if stream is None:
                stream = container.add_stream("mpeg4", rate=Fraction(FPS), options={"qscale": "2"})
                assert isinstance(stream, av.VideoStream)
                stream.height, stream.width = plane.shape
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(plane, format="gray")))
        if stream is not None:
            container.mux(stream.encode(None))
    return path


def write_picture(path: Path, side_px: int) -> Path:
    """A grey picture of noise."""
    Image.fromarray(next(changing(1, side_px, 0.0))).save(path)
    return path


def _noise(random: np.random.Generator, rows: int, columns: int) -> Slice:
    """Squares of 4 x 4 equal pixels, so that films and resizes keep most of it."""
    coarse = random.integers(0, 256, (-(-rows // 4), -(-columns // 4)), dtype=np.uint8)
    return coarse.repeat(4, axis=0).repeat(4, axis=1)[:rows, :columns]


def _instance(index: int, plane: Slice) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"1.2.3.4.{index + 1}"
    dataset.StudyInstanceUID = "1.2.3"
    dataset.SeriesInstanceUID = "1.2.3.4"
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = index + 1
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [0, 0, index]
    dataset.PixelSpacing = [1, 1]
    dataset.WindowCenter, dataset.WindowWidth = 127.5, 255
    dataset.VOILUTFunction = "LINEAR_EXACT"
    dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
    dataset.Rows, dataset.Columns = plane.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.PixelData = plane.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset
