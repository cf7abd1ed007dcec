"""An instance as Explicit VR Little Endian, the transfer syntax that every client reads (PS3.18, section 8.7.3.5)."""

from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, UncompressedTransferSyntaxes

from hulumed_platform.archive.renderer.refused import RefusedError
from hulumed_platform.archive.renderer.values import is_big_endian, to_little_endian
from hulumed_platform.imaging.dicom.pixels import ISOLATED, PLUGINS


def write_transcoded(path: Path, out: Path) -> dict[str, Any]:
    """Write the instance with the same UIDs; colours of compressed pixels become RGB, as their attributes then say."""
    dataset = dcmread(path)
    uncompress(dataset)
    if is_big_endian(dataset):
        to_little_endian(dataset)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(out, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return {}


def uncompress(dataset: Dataset) -> None:
    """Decode the pixels of a data set in place.

    Raises:
        RefusedError: There is no decoder for its transfer syntax.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in UncompressedTransferSyntaxes or not syntax.is_compressed or "PixelData" not in dataset:
        return
    dataset.decompress(decoding_plugin=decoder(syntax), generate_instance_uid=False)


def decoder(syntax: str) -> str:
    """The decoder of a transfer syntax, by pydicom's name. Raises RefusedError where there is none."""
    plugin = {**ISOLATED, **PLUGINS}.get(syntax)
    if plugin is None:
        raise RefusedError("there is no decoder for the transfer syntax of the instance")
    return plugin
