"""C-STORE by real senders: what was acknowledged is stored, byte for byte, whatever its encoding."""

from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import ALL_TRANSFER_SYNTAXES

from hulumed_platform.archive.intake import Intake
from hulumed_platform.archive.registration import Registration
from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.local import LocalObjects
from tests.support.dimse import STUDY, Archive, associated, data_set, dcmtk, encoded, send

CT = Path(str(get_testdata_file("CT_small.dcm", download=False)))
EXPLICIT = str(ExplicitVRLittleEndian)


def test_every_transfer_syntax_is_kept_byte_for_byte(archive: Archive) -> None:
    """HTJ2K, JPEG XL, video: what cannot be decoded here can still be kept."""
    instances = [encoded(syntax) for syntax in ALL_TRANSFER_SYNTAXES]
    with archive.room() as room:
        contexts = [(CTImageStorage, [syntax]) for syntax in ALL_TRANSFER_SYNTAXES]
        with associated(room.port, contexts) as association:
            assert {send(association, instance) for instance in instances} == {0x0000}
    stored = archive.contents()
    assert len(stored) == len(ALL_TRANSFER_SYNTAXES)
    assert sorted(map(data_set, stored.values())) == sorted(map(data_set, instances))
    assert {row.transfer_syntax_uid for row in archive.instances()} == set(ALL_TRANSFER_SYNTAXES)


@pytest.mark.parametrize(
    ("sop_class", "private_classes", "is_taken"),
    [
        ("1.2.840.10008.5.1.4.1.1.3", False, True),  # Ultrasound Multi-frame, retired
        ("1.2.840.10008.5.1.4.1.1.9999", False, True),  # of a later edition of the standard
        ("1.2.840.10008.5.1.4.1.1.200.4", False, False),  # below the same root, and C-FIND
        ("1.3.12.2.1107.5.9.1", True, True),
        ("1.3.12.2.1107.5.9.2", False, False),
    ],
)
def test_storage_classes_beyond_the_library(
    archive: Archive, sop_class: str, private_classes: bool, is_taken: bool
) -> None:
    """Old devices send retired classes, some send private ones, and a list in a library is never complete."""
    with (
        archive.room(private_classes=private_classes) as room,
        associated(room.port, [("1.2.840.10008.1.1", [EXPLICIT]), (sop_class, [EXPLICIT])]) as association,
    ):
        accepted = {context.abstract_syntax for context in association.accepted_contexts}
        assert (sop_class in accepted) == is_taken
        if is_taken:
            assert send(association, encoded(EXPLICIT, sop_class=sop_class)) == 0x0000
    assert len(archive.instances()) == is_taken


def test_a_peer_chooses_the_encoding(archive: Archive) -> None:
    """The first of its transfer syntaxes is the one it has; only Implicit VR goes last, as it loses types."""
    jpeg2000 = "1.2.840.10008.1.2.4.90"
    offers = {
        CTImageStorage: [jpeg2000, EXPLICIT],
        "1.2.840.10008.5.1.4.1.1.4": [str(ImplicitVRLittleEndian), EXPLICIT],
        "1.2.840.10008.5.1.4.1.1.7": [str(ImplicitVRLittleEndian)],
    }
    with archive.room() as room, associated(room.port, list(offers.items())) as association:
        chosen = {context.abstract_syntax: context.transfer_syntax for context in association.accepted_contexts}
    assert list(chosen.values()) == [[jpeg2000], [EXPLICIT], [str(ImplicitVRLittleEndian)]]


def test_large_multi_frames_go_through_the_disk(archive: Archive) -> None:
    """Nothing is left in the scratch folder, and what came is what is kept."""
    large = encoded(EXPLICIT, size_bytes=40 * 1024 * 1024)
    with archive.room() as room, associated(room.port, [(CTImageStorage, [EXPLICIT])]) as association:
        assert send(association, large) == 0x0000
    (stored,) = archive.contents().values()
    assert data_set(stored) == data_set(large)
    assert not list((archive.folder / "scratch").iterdir())


def test_the_same_instance_again_is_stored_once(archive: Archive) -> None:
    """A sender that missed our answer sends again; it must get the same one, and no second job may begin."""
    instance = encoded(EXPLICIT)
    with archive.room() as room:
        for _ in range(2):
            with associated(room.port, [(CTImageStorage, [EXPLICIT])]) as association:
                assert send(association, instance) == 0x0000
                assert send(association, instance) == 0x0000
    assert len(archive.instances()) == 1


def test_an_instance_that_came_through_another_door_is_the_same(archive: Archive) -> None:
    """File meta information is the door's, not the sender's: STOW-RS and C-STORE of one instance do not conflict."""
    instance = encoded(EXPLICIT)
    registration = Registration(archive.database)
    intake = Intake(archive.objects, registration, tenant="default", max_instance_bytes=10**6)
    assert intake.store(BytesIO(instance)).failure_reason is None
    with archive.room() as room, associated(room.port, [(CTImageStorage, [EXPLICIT])]) as association:
        assert send(association, instance) == 0x0000
    (stored,) = archive.contents().values()
    assert stored == instance


def test_another_instance_under_the_same_uid_is_refused(archive: Archive) -> None:
    """Neither silently dropped nor silently replacing the first; the status says which it is."""
    uid = generate_uid()
    first, second = encoded(EXPLICIT, uid=uid), encoded(EXPLICIT, uid=uid, size_bytes=1024)
    with archive.room() as room, associated(room.port, [(CTImageStorage, [EXPLICIT])]) as association:
        assert send(association, first) == 0x0000
        assert send(association, second) == 0x0111
    (stored,) = archive.contents().values()
    assert data_set(stored) == data_set(first)


def test_what_is_wrong_with_an_instance_costs_the_instance_only(archive: Archive) -> None:
    """Another UID than announced, a UID missing, cut off: a failure status each, and the association goes on."""
    good = encoded(EXPLICIT)
    no_study = dcmread(BytesIO(encoded(EXPLICIT)))
    del no_study.StudyInstanceUID
    without_study = BytesIO()
    no_study.save_as(without_study, enforce_file_format=True)
    with archive.room() as room, associated(room.port, [(CTImageStorage, [EXPLICIT])]) as association:
        assert send(association, _with_named_uid(good, "1.2.3.4")) == 0xA900
        assert send(association, without_study.getvalue()) == 0xC000
        assert send(association, encoded(EXPLICIT)[:-100]) == 0xC000
        assert send(association, good) == 0x0000
    assert len(archive.instances()) == 1


def test_a_full_disk_is_told_and_nothing_is_lost(archive: Archive) -> None:
    """A700 makes the sender keep the instance; sent again when there is room, it is stored."""
    instance = encoded(EXPLICIT)
    with (
        archive.room(max_disk_used=1e-9) as room,
        associated(room.port, [(CTImageStorage, [EXPLICIT])]) as association,
    ):
        assert send(association, instance) == 0xA700
        assert send(association, encoded(EXPLICIT, size_bytes=4 * 1024 * 1024)) == 0xA700
        assert association.is_established
    assert not archive.instances()
    with archive.room() as room, associated(room.port, [(CTImageStorage, [EXPLICIT])]) as association:
        assert send(association, instance) == 0x0000


def test_an_instance_over_the_limit_is_refused(archive: Archive) -> None:
    """Told, when it has come to its end, without having filled the disk."""
    with (
        archive.room(max_instance_bytes=2 * 1024 * 1024) as room,
        associated(room.port, [(CTImageStorage, [EXPLICIT])]) as association,
    ):
        assert send(association, encoded(EXPLICIT, size_bytes=8 * 1024 * 1024)) == 0xA700
        assert send(association, encoded(EXPLICIT)) == 0x0000


def test_a_store_that_is_away_is_told(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never acknowledged and lost; and nothing of the patient in the answer or the log."""

    def away(*_: object, **__: object) -> None:
        raise PlatformError(ErrorCode.UNAVAILABLE, "The object store cannot be reached; try again.")

    instance = encoded(EXPLICIT)
    with archive.room() as room, associated(room.port, [(CTImageStorage, [EXPLICIT])]) as association:
        with monkeypatch.context() as patch:
            patch.setattr(LocalObjects, "put", away)
            assert send(association, instance) == 0xA700
        assert send(association, instance) == 0x0000


def test_logs_hold_nothing_of_the_patient(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    """pynetdicom would log data sets at level debug, and pydicom quotes values that it does not like."""
    caplog.set_level("DEBUG")
    bad = encoded(EXPLICIT).replace(b"DOE^JANE", b"DOE\\JANE")
    with archive.room() as room, associated(room.port, [(CTImageStorage, [EXPLICIT])]) as association:
        send(association, bad)
        send(association, bad[:-50])
    assert "JANE" not in caplog.text
    assert STUDY not in caplog.text


@pytest.mark.parametrize("tool", ["storescu", "dcmsend"])
@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "color3d_jpeg_baseline.dcm"])
def test_dcmtk_stores(archive: Archive, tool: str, name: str) -> None:
    """The senders that most others are compared with, with the options they are shipped with."""
    path = Path(str(get_testdata_file(name, download=False)))
    syntax = str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)
    proposal = {"1.2.840.10008.1.2.4.91": "-xw", "1.2.840.10008.1.2.5": "-xr", "1.2.840.10008.1.2.4.50": "-xy"}
    options = [proposal[syntax]] if tool == "storescu" and syntax in proposal else []
    with archive.room() as room:
        dcmtk(tool, room.port, *options, path)
    (row,) = archive.instances()
    assert row.transfer_syntax_uid == syntax


def test_dcmtk_echoes(archive: Archive) -> None:
    """C-ECHO is what an administrator tries first."""
    with archive.room() as room:
        assert "Received Echo Response (Success)" in dcmtk("echoscu", room.port)


def _with_named_uid(contents: bytes, uid: str) -> bytes:
    """The file with another SOP Instance UID in its meta information: what C-STORE will announce."""
    dataset = dcmread(BytesIO(contents))
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=False)  # else the meta information is mended
    return file.getvalue()
