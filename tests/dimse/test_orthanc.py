"""Orthanc, as Debian ships it, sends to the room."""

from pathlib import Path

from pydicom import dcmread
from pydicom.data import get_testdata_file

from tests.support.dimse import LOOPBACK, Archive, peer
from tests.support.orthanc_sender import orthanc

FILES = ["CT_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "color3d_jpeg_baseline.dcm", "reportsi.dcm"]


def test_orthanc_sends_what_it_has(archive: Archive) -> None:
    """Images in several encodings and a report, on one association, each stored as it was."""
    paths = [Path(str(get_testdata_file(name, download=False))) for name in FILES]
    with (
        archive.room(peers=[peer("ORTHANC")]) as room,
        orthanc(archive.folder, {"hulumed": ["HULUMED", LOOPBACK, room.port]}) as server,
    ):
        ids = [server.upload(path.read_bytes()) for path in paths]
        answer = server.send("hulumed", *ids)
        assert answer["FailedInstancesCount"] == 0
        assert server.post("/modalities/hulumed/echo", b"{}") == {}
    stored = {row.sop_instance_uid: row.transfer_syntax_uid for row in archive.instances()}
    sent = {path: dcmread(path, stop_before_pixels=True) for path in paths}
    assert stored == {data.SOPInstanceUID: data.file_meta.TransferSyntaxUID for data in sent.values()}


def test_orthanc_asks_for_commitment(archive: Archive) -> None:
    """And takes the report on an association of ours."""
    path = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    (archive.folder / "first").mkdir()
    peers = [peer("ORTHANC")]
    with archive.room(peers=peers) as room:
        port = room.port
    modality = {"AET": "HULUMED", "Host": LOOPBACK, "Port": port, "AllowStorageCommitment": True}
    with orthanc(archive.folder / "first", {"hulumed": modality}) as server:
        peers = [peer("ORTHANC", reports_to={"host": LOOPBACK, "port": server.dicom_port})]
        with archive.room(peers=peers, port=port):
            identifier = server.upload(path.read_bytes())
            server.send("hulumed", identifier)
            asked = server.post("/modalities/hulumed/storage-commitment", f'{{"Resources": ["{identifier}"]}}'.encode())
            report = server.wait_for_report(asked["Path"])
    assert report["Status"] == "Success"
    assert [item["SOPInstanceUID"] for item in report["Success"]] == [
        dcmread(path, stop_before_pixels=True).SOPInstanceUID
    ]
